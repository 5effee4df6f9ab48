// UpdateRule: how one parameter tensor changes, from its gradient and its state. A rule is built
// from options, parameters and partition, never from files, and owns no state: the Optimizer holds
// it and hands it out, so that saving, counting bytes and sharding are the same for every rule.
#pragma once

#include <span>

#include "optimizers/parameter_step.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

struct RuleTraits {
  // A step of a parameter needs nothing of the others: it can be made inside the backward pass.
  bool local = true;
  // Before the steps 1, 1 + curvature_every, ... learn_curvature() is called; 0: never.
  std::int64_t curvature_every = 0;
  // update() takes a stack of matrices, too: parameters of one shape and role that decay alike, the
  // gradient, weight and state with a leading axis, and returns the sums of each. `parameter` is
  // the first of them; there are no rates of blocks. Only of rules that neither draw nor rest.
  bool stacks = false;
};

// What a kernel must fit.
struct KernelKey {
  at::DeviceType device;
  at::ScalarType weight;
  at::ScalarType gradient;

  static KernelKey of(const ParameterStep& step) {
    return {step.weight.device().type(), step.weight.scalar_type(), step.gradient.scalar_type()};
  }
  bool is_float_cpu() const {
    return device == at::kCPU && weight == at::kFloat && gradient == at::kFloat;
  }
};

// A rule's step in one pass over memory.
class FusedStep {
 public:
  virtual ~FusedStep() = default;
  // Returns the sum of (w_new - w_old)^2.
  virtual double apply(const ParameterStep& parameter, const StepScope& scope) const = 0;
  // Sums of the gradient's squares for which apply() would read it a second time: how many, and the
  // pass that writes them and returns the sum of all squares, of which the norm is made. apply()
  // takes them from parameter.squares where they are there.
  virtual std::int64_t square_sums(const TensorPartition&) const { return 0; }
  virtual double sum_squares(const ParameterStep&, double*, kernels::Workspace&) const {
    return 0.0;
  }
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  virtual RuleTraits traits(const TensorPartition&) const { return {}; }
  // The state of a parameter.
  virtual std::vector<StateSpec> state(const Parameter& parameter,
                                       const TensorPartition& partition) const = 0;
  // Cuts of the rows at multiples of this change no step: 1, a head's rows, or, as here, all. The
  // state of the pieces, one behind the other, is that of the whole; see row_pieces.hpp.
  virtual std::int64_t rows_together(const Parameter& parameter,
                                     const TensorPartition& partition) const;
  // With an estimate of the Hessian's diagonal at the present weights, none of it negative, in the
  // place of parameter.gradient. See RuleTraits::curvature_every.
  virtual void learn_curvature(const ParameterStep&) const {}
  // Whether the step leaves the parameter and its state as they are: there is no update then.
  virtual bool rests(const Parameter&, const StepScope&) const { return false; }
  // Whether all state of the rule becomes 0 before the step's updates.
  virtual bool forgets(const StepScope&) const { return false; }
  // Before the updates of a step, with all parameters of the rule and their gradients. Not called
  // for gradients that are released, which needs RuleTraits::local.
  virtual void begin_step(std::span<ParameterStep>, const StepScope&) const {}
  // The step in plain tensor operations, on any device. Returns the sum of (w_new - w_old)^2 as a
  // 0-d tensor of float64 on the device.
  virtual at::Tensor update(const ParameterStep& parameter, const StepScope& scope) const = 0;
  // The step in one pass over memory where there is a kernel for these types, otherwise null.
  virtual const FusedStep* fused(const KernelKey&) const { return nullptr; }
};

// 1 for tensors that a partition cuts into elements, otherwise rows that hold whole tiles; all
// where a group or a list of labels crosses them. For rules that treat every element alike but for
// its block.
std::int64_t rows_of_whole_blocks(const Parameter& parameter, const TensorPartition& partition);

}  // namespace blockwise
