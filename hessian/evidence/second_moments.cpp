#include "hessian/evidence/second_moments.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "core/curvature.hpp"
#include "core/data/ordered_examples.hpp"

namespace blockwise {
namespace {

std::vector<Batch> micro_batch(const ParameterStore& store, const Dataset& data,
                               const MomentBatches& batches, std::int64_t first) {
  const auto whole = examples_in_order(batches.order, data, first, batches.micro_batch_size);
  const auto inputs = whole.inputs.split(batches.at_a_time, 0);
  const auto targets = whole.targets.split(batches.at_a_time, 0);
  std::vector<Batch> parts;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto type =
        inputs[i].is_floating_point() ? store.parameters().scalar_type() : inputs[i].scalar_type();
    parts.push_back({inputs[i].to(store.device(), type), targets[i].to(store.device())});
  }
  return parts;
}

// Targets that count; where all do, micro-batches weigh alike.
double weight_of(const std::vector<Batch>& parts, const Dataset& data) {
  if (!data.ignores_targets()) return 1.0;
  std::int64_t counted = 0;
  for (const auto& part : parts) {
    counted += part.targets.ne(kIgnoredTarget).sum().item<std::int64_t>();
  }
  return static_cast<double>(counted);
}

// Undefined where no target counts. Differences take the training pass, with its kernels and its
// memory.
at::Tensor batch_gradient(const MomentSource& source, const MomentBatches& batches,
                          std::int64_t number, const WorkWatch& watch) {
  const auto& [model, store, data] = source;
  const auto& parameters = store.parameters();
  auto sum = at::zeros(parameters.sizes(), parameters.options().dtype(at::kDouble));
  double weights = 0.0;
  for (std::int64_t m = 0; m < batches.micro_batches; ++m) {
    watch.leave_if_stopped();
    const auto first = batches.first + number * batches.size() + m * batches.micro_batch_size;
    auto parts = micro_batch(store, data, batches, first);
    const double weight = weight_of(parts, data);
    if (weight == 0.0) continue;
    Curvature one(model, store, std::move(parts), ProductMethod::finite_difference);
    sum.add_(one.gradient(), weight);
    weights += weight;
  }
  return weights > 0.0 ? sum.div_(weights).to(at::kCPU) : at::Tensor();
}

// The mean of one group's squared gradients, as they come.
class Group {
 public:
  void add(const at::Tensor& gradient) {
    const auto squared = gradient.square();
    sum_ = sum_.defined() ? sum_.add_(squared) : squared;
    ++count_;
  }
  at::Tensor mean() const {
    require_input(
        count_ > 0,
        "the second moment of the gradient: a mask leaves no target that counts in one of "
        "{} groups of batches; larger batches or a larger gradient_batches are needed",
        kMomentGroups);
    return sum_ / static_cast<double>(count_);
  }

 private:
  at::Tensor sum_;
  std::int64_t count_ = 0;
};

}  // namespace

SecondMoments second_moments(const MomentSource& source, const MomentBatches& batches,
                             const WorkWatch& watch) {
  std::vector<Group> groups(static_cast<std::size_t>(kMomentGroups));
  SecondMoments moments;
  for (std::int64_t b = 0; b < batches.of_group() * kMomentGroups; ++b) {
    const auto gradient = batch_gradient(source, batches, b, watch);
    if (gradient.defined()) groups[static_cast<std::size_t>(b % kMomentGroups)].add(gradient);
    if (!gradient.defined()) ++moments.left_out;
    watch.tell();
  }
  for (const auto& group : groups) moments.groups.push_back(group.mean());
  return moments;
}

}  // namespace blockwise
