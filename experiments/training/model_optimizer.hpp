// ModelOptimizer: a run's optimizer, of which this process has all or, with parallel.shard, a
// share.
#pragma once

#include <memory>
#include <optional>

#include "core/parallel/ranks.hpp"
#include "experiments/config/parallel_config.hpp"
#include "optimizers/optimizer.hpp"
#include "optimizers/sharding/shared_state.hpp"

namespace blockwise {

class ModelOptimizer {
 public:
  // The store is the model's; it and the ranks outlive this. Throws InputError where the rule
  // cannot be spread over processes (Optimizer) and as the optimizer does.
  ModelOptimizer(const OptimizerConfig& config, const ParallelConfig& parallel,
                 ParameterStore& store, const Ranks& ranks, std::uint64_t seed);

  // Of this process.
  Optimizer& own() { return *own_; }
  const Optimizer& own() const { return *own_; }
  // Of the model.
  const Partition& partition() const { return all_ ? all_->partition() : own_->partition(); }
  // [n], or of this process' share.
  const at::Tensor& gradients() const {
    return own_parameters_ ? own_parameters_->gradients() : store_.gradients();
  }
  // Bounds of the ranks' shares of the flat buffer; empty where each has all of it.
  const Shares& owners() const { return owners_; }

  // The step from the store's gradients, of which those of this share are read.
  StepReport step(double learning_rate);

  // The state of the model as a checkpoint has it. `before` is called before each tensor that other
  // ranks have to take part in, with its number: they call collect().
  using BeforeCollect = std::function<void(std::int64_t)>;
  std::vector<LateTensor> state_tensors(const BeforeCollect& before) const;
  void collect(std::int64_t number) const { shared_->collect(std::size_t(number)); }
  void load_state(std::int64_t steps, const NamedTensors& saved);

 private:
  void cut(const OptimizerConfig& config, std::uint64_t seed);

  ParameterStore& store_;
  const Ranks& ranks_;
  Shares owners_;
  // What the model's optimizer would be, on the meta device; null where this process has it.
  std::unique_ptr<ParameterStore> all_parameters_;
  std::unique_ptr<Optimizer> all_;
  std::unique_ptr<ParameterStore> own_parameters_;  // rows of the store; null for all of them
  std::unique_ptr<Optimizer> own_;
  std::optional<SharedState> shared_;
};

}  // namespace blockwise
