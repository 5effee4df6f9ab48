// StackedSteps: matrices of one shape take their step together, as a batch of copies that goes back
// into weights and state after it. Products are batched and the number of operations follows from
// the number of shapes, not of tensors: for devices on which a launch costs more than the work on a
// small matrix. The steps are those tensor by tensor but for the order in which batched products
// sum. Cost beside the rule's own: one read and write of weights, gradients and state, and memory
// for these of one stack.
#pragma once

#include <vector>

#include "optimizers/parameter_step.hpp"
#include "optimizers/rule_set.hpp"

namespace blockwise {

class StackedSteps {
 public:
  // Values of a stack's weights at most; larger matrices, which fill a device alone, stay apart.
  static constexpr std::int64_t kValues = std::int64_t{1} << 24;

  struct Stack {
    std::size_t member;               // of the rules
    std::vector<std::size_t> places;  // in the member's parts; two at least
  };

  // Of parts whose rule takes stacks (RuleTraits::stacks), with one shape, role and decay and no
  // rates of blocks. parts: by member of the rules. apart: by parameter, whether it must stay
  // alone.
  StackedSteps(const RuleSet& rules, const std::vector<std::vector<ParameterStep>>& parts,
               const std::vector<bool>& apart);

  const std::vector<Stack>& stacks() const { return stacks_; }
  bool has(std::size_t parameter) const { return stacked_[parameter]; }

  // Takes the step of a stack's parts. Returns the sums of (w_new - w_old)^2, [parts] of float64 on
  // the device.
  static at::Tensor run(const UpdateRule& rule, const std::vector<ParameterStep>& parts,
                        const Stack& stack, const StepScope& scope);

 private:
  std::vector<Stack> stacks_;
  std::vector<bool> stacked_;  // by parameter
};

}  // namespace blockwise
