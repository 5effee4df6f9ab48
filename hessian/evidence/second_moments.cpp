#include "hessian/evidence/second_moments.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

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

// The mean of one group's squared gradients, as they come, and then those of the other ranks.
class Group {
 public:
  explicit Group(std::int64_t parameters) : sum_(at::zeros({parameters}, at::kDouble)) {}
  void add(const at::Tensor& gradient) {
    sum_.addcmul_(gradient, gradient);
    ++count_;
  }
  void add_ranks(const Ranks& ranks) {
    if (ranks.is_alone()) return;
    ranks.sum(sum_);
    const auto counts = ranks.gather({{static_cast<double>(count_)}});
    count_ = static_cast<std::int64_t>(std::accumulate(counts.begin(), counts.end(), 0.0));
  }
  std::int64_t count() const { return count_; }
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

// Of several processes all leave at one place: where rank 0 is told to.
void leave_together(const WorkWatch& watch, const Ranks& ranks) {
  if (ranks.is_alone()) return;  // asks within the batch
  const bool stopped = watch.stop && watch.stop();
  if (ranks.number_of_first(stopped) != 0) throw Stopped();
}

// What asks within a batch.
WorkWatch inner_watch(const WorkWatch& watch, const Ranks& ranks) {
  return ranks.is_alone() ? watch : WorkWatch();
}

}  // namespace

SecondMoments second_moments(const MomentSource& source, const MomentBatches& batches,
                             const WorkWatch& watch, const Ranks& ranks) {
  const auto total = batches.of_group() * kMomentGroups;
  std::vector<Group> groups;
  for (std::int64_t g = 0; g < kMomentGroups; ++g) {
    groups.emplace_back(source.store.parameters().numel());
  }
  for (std::int64_t round = 0; round < total; round += ranks.size()) {
    leave_together(watch, ranks);
    const auto b = round + ranks.rank();
    if (b < total) {
      const auto gradient = batch_gradient(source, batches, b, inner_watch(watch, ranks));
      if (gradient.defined()) groups[static_cast<std::size_t>(b % kMomentGroups)].add(gradient);
    }
    for (auto i = round; i < std::min(total, round + ranks.size()); ++i) watch.tell();
  }
  SecondMoments moments;
  moments.left_out = total;
  for (auto& group : groups) {
    group.add_ranks(ranks);
    moments.left_out -= group.count();
    moments.groups.push_back(group.mean());
  }
  return moments;
}

}  // namespace blockwise
