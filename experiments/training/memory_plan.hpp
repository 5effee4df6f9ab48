// What a run will hold, before anything is allocated: the run's own store, model, optimizer and
// training step are made and run on the meta device (core/memory/meta_memory.hpp), so that every
// option counts without a formula that could disagree with the program.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/parameters/parameter_store.hpp"
#include "experiments/config/run_config.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {

// Bytes unless said otherwise; of one device that holds everything.
struct MemoryPlan {
  std::int64_t parameters = 0;  // count
  std::int64_t parameter_bytes = 0;
  // Of the parameter bytes those of each layer whose weights could be elsewhere while it is not
  // computed (ModelSpec::separate_layers()).
  std::vector<std::int64_t> layer_bytes;
  std::int64_t gradient_bytes = 0;  // 0 where they are released, and count among activations
  std::vector<std::pair<std::string, std::int64_t>> optimizer;  // by kind, master weights too
  std::vector<RuleShare> rules;  // which update rule has how much of the model
  // Factors of the learning rate at its peak, where optimizer.rates has them by role.
  std::vector<std::pair<std::string, double>> role_factors;
  std::int64_t master_bytes = 0;      // of the optimizer's: float32 masters of bfloat16 parameters
  std::int64_t activation_bytes = 0;  // at the peak of a step, all that is not listed above
  std::int64_t peak_bytes = 0;
  // The peaks of a step without and with activation checkpointing, whatever the configuration says.
  std::int64_t peak_bytes_without_checkpointing = 0;
  std::int64_t peak_bytes_with_checkpointing = 0;
  std::int64_t checkpoint_bytes = 0;  // tensors in the files of one checkpoint
  // That one step of the optimizer must move: masters and state read and written, gradients read
  // for the norm and again for the update, bfloat16 copies written. Clipping costs nothing more.
  std::int64_t step_bytes = 0;
  // Forward and backward, multiplications and additions each counted: 6 per parameter that
  // multiplies (the head, tied or not; not the embeddings) and 12 T width of the queries per layer
  // for attention, its causal half not taken off (Chowdhery et al., arXiv 2204.02311, appendix B).
  double flops_per_token = 0;
  // Why a step could not be rehearsed; then activations count as 0. Otherwise empty.
  std::string note;
  // Rules whose updates cannot be rehearsed, in words: what they need for a moment is not counted.
  std::string updates_note;

  std::int64_t optimizer_bytes() const;
};

// What only the optimizer needs, by kind: its state, and as "master_weights" the float32 parameters
// that the model does not compute with. Plans and run files count it alike.
std::vector<std::pair<std::string, std::int64_t>> optimizer_bytes_by_kind(
    const Optimizer& optimizer, const ParameterStore& store);

// Bytes of the process beside its tensors: the program and LibTorch in memory, threads, and what
// the allocator keeps of tensors that are gone. Nothing predicts the last, so these are what runs
// of MLPs and transformers up to 125M parameters had: 134 to 445 MiB, and 504 with the LibTorch
// that is built for CUDA.
inline constexpr std::int64_t kLeastBesideTensors = std::int64_t{130} << 20;
inline constexpr std::int64_t kMostBesideTensors = std::int64_t{550} << 20;

// Throws InputError where a rule learns the curvature from labels that the model samples, and the
// model's loss is not that of labels. For an optimizer without steps.
void require_labels(const RunConfig& config, const Model& model, const Optimizer& optimizer);

// Throws InputError where the configuration does not say the model's sizes and its data, which
// would know them, is not there. Cost: a pass over the model's operations, no arithmetic; memory
// for the partition only.
MemoryPlan plan_memory(RunConfig config);

// Devices of `device_bytes` that hold the run, each with its own activations:
// state_sharded divides the optimizer's bytes among them, all_sharded also parameters and
// gradients. 0 where no number is enough.
std::int64_t devices_state_sharded(const MemoryPlan& plan, std::int64_t device_bytes);
std::int64_t devices_all_sharded(const MemoryPlan& plan, std::int64_t device_bytes);

}  // namespace blockwise
