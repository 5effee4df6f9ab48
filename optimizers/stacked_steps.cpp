#include "optimizers/stacked_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace blockwise {
namespace {

using Kind = std::tuple<std::vector<std::int64_t>, ParameterRole, double>;
using Places = std::vector<std::size_t>;

// Places of the parts that may share a stack.
std::map<Kind, Places> alike(const RuleSet::Member& member, const std::vector<ParameterStep>& parts,
                             const std::vector<bool>& apart) {
  std::map<Kind, Places> kinds;
  for (std::size_t place = 0; place < parts.size(); ++place) {
    const auto& part = parts[place];
    const bool alone = apart[member.parameters[place]] || part.rates != nullptr ||
                       !member.rule->traits(part.partition).stacks;
    if (alone) continue;
    kinds[{part.parameter.shape, part.parameter.role, part.weight_decay}].push_back(place);
  }
  return kinds;
}

// In runs of about one length, at most `longest`.
std::vector<Places> runs_of(const Places& places, std::size_t longest) {
  std::vector<Places> runs;
  const auto count = (places.size() + longest - 1) / longest;
  for (std::size_t i = 0; i < count; ++i) {
    const auto begin = places.begin() + std::ptrdiff_t(i * places.size() / count);
    const auto end = places.begin() + std::ptrdiff_t((i + 1) * places.size() / count);
    runs.emplace_back(begin, end);
  }
  return runs;
}

// The same tensor of every part, and their copy as one.
struct Batch {
  std::vector<at::Tensor> parts;
  at::Tensor whole;

  explicit Batch(std::vector<at::Tensor> tensors)
      : parts(std::move(tensors)), whole(at::stack(parts)) {}
  void write_back() const { at::_foreach_copy_(parts, whole.unbind(0)); }
};

template <typename Of>
Batch batch_of(const std::vector<ParameterStep>& parts, const Places& places, const Of& of) {
  std::vector<at::Tensor> tensors;
  for (const auto place : places) tensors.push_back(of(parts[place]));
  return Batch(std::move(tensors));
}

}  // namespace

StackedSteps::StackedSteps(const RuleSet& rules,
                           const std::vector<std::vector<ParameterStep>>& parts,
                           const std::vector<bool>& apart)
    : stacked_(apart.size(), false) {
  for (std::size_t m = 0; m < parts.size(); ++m) {
    const auto& member = rules.members()[m];
    for (const auto& [kind, places] : alike(member, parts[m], apart)) {
      const auto values = parts[m][places.front()].parameter.size();
      const auto longest = std::size_t(std::max<std::int64_t>(1, kValues / values));
      for (auto& run : runs_of(places, longest)) {
        if (run.size() < 2) continue;
        for (const auto place : run) stacked_[member.parameters[place]] = true;
        stacks_.push_back({m, std::move(run)});
      }
    }
  }
}

at::Tensor StackedSteps::run(const UpdateRule& rule, const std::vector<ParameterStep>& parts,
                             const Stack& stack, const StepScope& scope) {
  const auto& first = parts[stack.places.front()];
  const auto weight = batch_of(parts, stack.places, [](const auto& part) { return part.weight; });
  const auto gradient =
      batch_of(parts, stack.places, [](const auto& part) { return part.gradient; });
  std::vector<Batch> kept;
  std::vector<at::Tensor> state;
  for (std::size_t k = 0; k < first.state.size(); ++k) {
    kept.push_back(
        batch_of(parts, stack.places, [k](const auto& part) { return part.state.load(k); }));
    state.push_back(kept.back().whole);
  }
  const auto moved =
      rule.update({first.parameter, first.partition, weight.whole, gradient.whole,
                   State(std::move(state)), first.weight_decay, nullptr, first.first_element},
                  scope);
  weight.write_back();
  for (const auto& batch : kept) batch.write_back();
  return moved;
}

}  // namespace blockwise
