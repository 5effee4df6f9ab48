// Optimizer: drives the rules of a RuleSet over all parameters of a store. State lives in flat
// tensors, one per kind, on the parameters' device; see state/state_store.hpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/parameters/parameter_store.hpp"
#include "optimizers/clipping.hpp"
#include "optimizers/coded_steps.hpp"
#include "optimizers/flat_steps.hpp"
#include "optimizers/optimizer_config.hpp"
#include "optimizers/rates/rate_method.hpp"
#include "optimizers/rule_set.hpp"
#include "optimizers/sharding/model_shard.hpp"
#include "optimizers/stacked_steps.hpp"
#include "optimizers/state/state_store.hpp"
#include "optimizers/tensor_threads.hpp"

namespace blockwise {

struct StepReport {
  double gradient_norm = 0.0;  // before clipping; not finite when the gradient is not
  double update_norm = 0.0;    // ||w_new - w_old||, decay included
};

class Optimizer {
 public:
  // Keeps a reference to the store. seed: of what rules draw. Throws InputError where the partition
  // rule does not cover a tensor, a file of rates per block is not of the partition, gradients are
  // released that a rule needs together, and where the device has less memory than the state takes,
  // before any of it is taken.
  Optimizer(const OptimizerConfig& config, ParameterStore& store, std::uint64_t seed = 0);
  // The same for a store that holds a shard of a model: norms are those of the model, and steps
  // those that an optimizer of the whole makes of these rows, up to the order in which norms are
  // summed. Throws InputError where a rule needs other tensors than its own, chooses how much it
  // keeps, or where blocks have rates of their own.
  Optimizer(const OptimizerConfig& config, ParameterStore& store, ModelShard shard,
            std::uint64_t seed);

  // With gradients that the store keeps: clips, then updates every tensor. With a non-finite
  // gradient norm nothing is changed. Deterministic, and but for rules with matrix products
  // independent of the number of threads. Cost: one read of the gradients for the norm and the sums
  // of squares that rules share, one more pass to clip by value, and one pass of the rule. Small
  // tensors are stepped side by side.
  StepReport step(double learning_rate);

  // Whether a rule takes an estimate of the Hessian's diagonal before the next step: of any
  // parameter, or of this one.
  bool wants_curvature() const;
  bool wants_curvature(std::size_t parameter) const;
  // Takes it from the store's gradients, which are to be made anew for the step. An estimate that
  // is not finite changes nothing.
  void learn_curvature();

  // With gradients that are released as they appear: one update per parameter, in any order,
  // between begin_step() and end_step(). gradient_scale: of clipping(), whose norm takes a backward
  // pass of its own. A gradient that is not finite changes nothing of its tensor, but what the
  // rule forgets at this step is forgotten; the norm that end_step() reports is not finite then.
  void begin_step(double learning_rate, double gradient_scale = 1.0);
  void update(std::size_t parameter, const at::Tensor& gradient);
  StepReport end_step();
  const Clipping& clipping() const { return clipping_; }

  // Of one gradient, or of the flat buffer.
  double squared_norm(const at::Tensor& gradient) { return squared_norm(gradient, workspace_); }

  // ||w_new - w_old||^2 of every tensor in the last step, in the layout's order; 0 where it changed
  // nothing. They are the terms of its update_norm: no further pass over anything.
  std::vector<double> squared_updates() const;

  // The rate of every tensor in the last step, in the layout's order: of its rule, and where blocks
  // have rates of their own their mean, each block counted once.
  std::vector<double> learning_rates() const;

  const Partition& partition() const { return partition_; }
  const RuleSet& rules() const { return rules_; }
  std::int64_t steps() const { return steps_; }

  const StateStore& state() const { return state_; }
  // What load_state() takes: the rules' state by parameter, and that of optimizer.rates.
  NamedTensors saved_state() const;
  // Factors of the learning rate in the last step, by tensor and section; null where there are
  // none.
  const BlockRates* rates() const { return rates_ ? &*rates_ : nullptr; }
  // Continues after `steps` steps from saved state; see StateStore::load().
  void load_state(std::int64_t steps, const NamedTensors& state);

  // What rules draw is taken from here instead of the seed; to be kept alive.
  void use_draws(GivenDraws& draws) { draws_ = &draws; }

  // On the meta device: makes what a first step on `device` makes and all later ones keep. Before
  // rehearse_update().
  void rehearse_first(at::DeviceType device);
  // On the meta device: makes and drops the tensors that an update of the parameter on `device`
  // makes beside weights, gradients and state. Nothing where a kernel makes none. Throws what
  // LibTorch does where the rule reads a value or needs what has no form there.
  void rehearse_update(std::size_t parameter, const at::Tensor& gradient, at::DeviceType device);

  // Uses the rules' tensor operations on the CPU too; for tests that compare the two forms.
  void use_tensor_operations() {
    fused_ = false;
    flat_.reset();
  }
  // Makes steps over all tensors at once where the rules, their state and clipping allow it;
  // returns whether they do. Done by the constructor on a CUDA device; for tests that have another
  // device.
  bool use_flat_steps(kernels::MakeFlatStepper& make);
  // Steps matrices of one shape together where their rule and their memory allow it; returns
  // whether any are. The same holds.
  bool use_stacked_steps();

 private:
  ParameterStep make_step(const OptimizerConfig& config, std::size_t parameter) const;
  // "SETTING, but optimizer.rule ... NEED for ..."
  void require_local_rules(std::string_view setting, std::string_view need) const;
  StepScope scope(const RuleSet::Member& member, kernels::Workspace& space);
  StepScope scope(const RuleSet::Member& member) { return scope(member, workspace_); }
  const FlatStep* flat_rule() const;
  StepReport flat_step(double learning_rate);
  void take_stacked_steps();
  bool rehearse_stack(std::size_t parameter);
  bool is_whole() const { return shard_.model_elements == store_.layout().size(); }
  std::uint64_t rounding_seed(std::size_t parameter) const;
  std::uint64_t master_seed(std::size_t parameter) const;
  void require_shardable(const OptimizerConfig& config) const;
  // State that rules drop before a step.
  void forget();
  void update_parameter(std::size_t parameter, kernels::Workspace& space);
  bool is_apart(std::size_t i) const;
  void assign_tensors();
  void make_square_sums();
  // Calls task(parameter, workspace) for all: on each thread for its own, then one by one.
  void over_tensors(const std::function<void(std::size_t, kernels::Workspace&)>& task);
  // Of all gradients, with the sums that rules take.
  double squared_norm();
  double squared_norm(const at::Tensor& gradient, kernels::Workspace& space) const;
  double sum_squares(std::size_t parameter, kernels::Workspace& space);
  // Calls `step` with the parameter, or with its pieces where its state is coded, which is rounded
  // by that stream.
  void over_pieces(std::size_t parameter, std::uint64_t rounding,
                   const std::function<void(const ParameterStep&)>& step);

  ParameterStore& store_;
  ModelShard shard_;
  Partition partition_;
  std::optional<BlockRates> rates_;
  std::optional<RateMethod> rate_method_;
  RuleSet rules_;
  StateStore state_;
  Clipping clipping_;
  std::uint64_t seed_;
  GivenDraws* draws_ = nullptr;
  std::vector<std::vector<ParameterStep>> parts_;  // by member of the rules, as it lists them
  std::vector<std::pair<std::size_t, std::size_t>> part_;  // of a parameter: member and place
  CodedSteps coded_;
  std::unique_ptr<FlatSteps> flat_;  // null: tensor by tensor
  std::optional<StackedSteps> stacked_;
  kernels::Workspace workspace_;
  std::optional<TensorThreads> threads_;  // of as many threads as there were at the last step
  std::vector<std::vector<double>> square_sums_;  // by parameter; empty where no rule takes any
  double learning_rate_ = 0.0;
  double gradient_scale_ = 1.0;
  double squared_gradient_ = 0.0;
  std::vector<double> moved_;                // by the last step, where fused
  std::vector<at::Tensor> moved_on_device_;  // 0-d, where not
  std::int64_t steps_ = 0;
  bool fused_ = true;
};

}  // namespace blockwise
