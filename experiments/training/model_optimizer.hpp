// ModelOptimizer: a run's optimizer, of which this process has all or, with parallel.shard, a
// share, and with it the masters of that share alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "core/parallel/ranks.hpp"
#include "experiments/records/tensor_norms.hpp"
#include "experiments/training/model_shares.hpp"
#include "optimizers/optimizer.hpp"
#include "optimizers/sharding/shared_state.hpp"

namespace blockwise {

class ModelOptimizer {
 public:
  // The store is the model's; with shares of its masters, they are this process' share. Shares,
  // store and ranks outlive this. Throws InputError where the rule cannot be spread over processes
  // (Optimizer), for split masters that are to be shared, and as the optimizer does.
  ModelOptimizer(const OptimizerConfig& config, const ModelShares& shares, ParameterStore& store,
                 const Ranks& ranks, std::uint64_t seed);

  // Of this process.
  Optimizer& own() { return *own_; }
  const Optimizer& own() const { return *own_; }
  // Of the model.
  const Partition& partition() const {
    return shares_.is_whole() ? own_->partition() : shares_.all().partition();
  }
  // [n], or of this process' share.
  const at::Tensor& gradients() const {
    return own_parameters_ ? own_parameters_->gradients() : store_.gradients();
  }

  // The step from the store's gradients, of which those of this share are read.
  StepReport step(double learning_rate);

  // Of the last step, of every tensor of the model; gradients are still those of the step. Every
  // process calls this together where state is shared.
  TensorNorms norms(std::int64_t step) const;

  // The model's master of a parameter, in its shape. Where masters are shared, every process calls
  // this together.
  at::Tensor master(std::size_t parameter) const;

  // The model and the optimizer's state as a checkpoint has them. `before` is called before each
  // tensor that other processes have to take part in, with its number: they call collect().
  using BeforeCollect = std::function<void(std::int64_t)>;
  std::vector<LateTensor> parameter_tensors(const BeforeCollect& before) const;
  std::vector<LateTensor> state_tensors(const BeforeCollect& before) const;
  void collect(std::int64_t number) const;
  void load_state(std::int64_t steps, const NamedTensors& saved);

 private:
  void cut(const OptimizerConfig& config, std::uint64_t seed);
  void hand_out() const;
  TensorNorms norms_of_model(const TensorNorms& own) const;

  const ModelShares& shares_;
  ParameterStore& store_;
  const Ranks& ranks_;
  std::unique_ptr<ParameterStore> own_parameters_;  // rows of the store; null for all of them
  std::vector<std::size_t> numbers_;                // of their tensors in the model
  std::unique_ptr<Optimizer> own_;
  std::optional<SharedState> shared_;
};

}  // namespace blockwise
