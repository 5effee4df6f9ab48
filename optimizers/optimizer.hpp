// Optimizer: drives an UpdateRule over all parameters of a store. State lives in flat float32
// tensors, one per StateKind, on the parameters' device.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/parameter_store.hpp"
#include "optimizers/optimizer_config.hpp"

namespace blockwise {

struct StepReport {
  double gradient_norm = 0.0;  // before clipping; not finite when the gradient is not
  double update_norm = 0.0;    // ||w_new - w_old||, decay included
};

class Optimizer {
 public:
  // Keeps a reference to the store. Throws InputError where the partition rule does not cover a
  // tensor, a file of rates per block is not of the partition, and where the device has less memory
  // than the state takes, before any of it is taken.
  Optimizer(const OptimizerConfig& config, ParameterStore& store);

  // Clips by the global norm, then updates every tensor. With a non-finite gradient norm nothing is
  // changed. Deterministic; independent of the number of threads. Cost: one read of the gradients
  // for the norm and one pass of the rule.
  StepReport step(double learning_rate);

  // ||w_new - w_old||^2 of every tensor in the last step, in the layout's order; 0 where it changed
  // nothing. They are the terms of its update_norm: no further pass over anything.
  std::vector<double> squared_updates() const;

  const Partition& partition() const { return partition_; }
  std::int64_t steps() const { return steps_; }

  // (name, flat tensor), and exact bytes by the same names.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }
  std::vector<std::pair<std::string, std::int64_t>> state_bytes() const;
  // Continues after `steps` steps from saved state. Throws InputError for a tensor that is missing,
  // or of another size or type.
  void load_state(std::int64_t steps, const std::vector<std::pair<std::string, at::Tensor>>& state);

  // Uses the rule's tensor operations on the CPU too; for tests that compare the two forms.
  void use_tensor_operations() { fused_ = false; }

 private:
  void collect_merged();
  double update_all(const StepInfo& common);
  // Of the i-th tensor, rates per block included; the tensor form returns a 0-d tensor.
  double update_fused(std::size_t i, const StepInfo& info);
  at::Tensor update_tensors(std::size_t i, const StepInfo& info);
  bool scales(std::size_t i) const;
  at::Tensor keep(std::size_t i);

  OptimizerConfig config_;
  ParameterStore& store_;
  Partition partition_;
  std::unique_ptr<UpdateRule> rule_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
  std::vector<BlockUpdate> blocks_;
  std::vector<double> weight_decay_;  // per block
  std::vector<std::vector<MergedSection>> merged_;
  std::optional<BlockRates> rates_;
  at::Tensor before_;  // with rates: room for the largest tensor as it was before its step
  kernels::Workspace workspace_;
  std::vector<double> moved_;                // by the last step, where fused
  std::vector<at::Tensor> moved_on_device_;  // otherwise, 0-d
  std::int64_t steps_ = 0;
  bool fused_;
};

}  // namespace blockwise
