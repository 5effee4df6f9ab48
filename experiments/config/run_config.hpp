// RunConfig: one training run, as plain values. Read from YAML by config_yaml.hpp; nothing of YAML
// survives here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/clone_ptr.hpp"
#include "core/dataset.hpp"
#include "core/model.hpp"
#include "experiments/config/discovery_config.hpp"
#include "experiments/config/hessian_config.hpp"
#include "experiments/config/parallel_config.hpp"
#include "experiments/config/rate_search_config.hpp"
#include "optimizers/optimizer_config.hpp"
#include "optimizers/schedule.hpp"

namespace blockwise {

struct DataConfig {
  std::string kind = "tokens";
  ClonePtr<DatasetSpec> spec;  // of `kind`; made by visit()
  void visit(FieldVisitor& v);
};

struct ModelConfig {
  std::string from;
  std::string family;
  ClonePtr<ModelSpec> spec;  // of `family`; made by visit()
  void visit(FieldVisitor& v);
};

struct TrainerConfig {
  std::int64_t steps = 0;
  std::int64_t micro_batch_size = 8;
  std::int64_t global_batch_tokens = 0;
  std::int64_t overfit_batches = 0;
  std::int64_t evaluate_every = 0;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep_checkpoints = 2;
  bool keep_best = false;
  std::int64_t keep_every = 0;
  std::int64_t norms_every = 0;
  double divergence_loss = 0.0;
  double divergence_factor = 100.0;
  std::string precision = "fp32";
  std::string master_weights = "fp32";
  std::int64_t master_resident_mb = 0;
  std::string master_folder;
  std::vector<std::string> float32_roles = {"norm"};
  std::vector<std::string> float32_tensors;
  bool activation_checkpointing = false;
  std::int64_t loss_chunk_tokens = 0;
  std::string gradients = "kept";
  bool cuda_graph = false;
  std::string device = "auto";
  std::int64_t threads = 0;
  void visit(FieldVisitor& v);
  // What the precision asks of the store and of each pass.
  std::optional<MixedPrecision> mixed_precision() const;
  // Whether kernels of our own for the CPU are used.
  bool runs_on_cpu() const;
  bool pages_masters() const { return master_resident_mb > 0; }
  ForwardContext forward_context() const;
  Gradients gradient_storage() const {
    return gradients == "released" ? Gradients::released : Gradients::kept;
  }
};

struct RunConfig {
  std::string name;
  std::string output;
  std::int64_t seed = 1;
  DataConfig data;
  ModelConfig model;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainerConfig trainer;
  ParallelConfig parallel;
  HessianConfig hessian;
  DiscoveryConfig discovery;
  RateSearchConfig search_lr;

  void visit(FieldVisitor& v);
};

// What forbids the path as a run's folder: it goes into files and onto terminals. Empty where
// nothing does.
std::string output_problem(const std::string& output);
// The option --output, or without it another folder. Throws InputError for such a path.
std::string output_of(const std::string& option, const std::string& otherwise);

}  // namespace blockwise
