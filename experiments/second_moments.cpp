#include "experiments/second_moments.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/curvature.hpp"
#include "core/error.hpp"
#include "experiments/stop_signal.hpp"
#include "experiments/stoppable_operator.hpp"

namespace blockwise {
namespace {

std::vector<Batch> micro_batch(const ParameterStore& store, const Dataset& data,
                               const MomentBatches& batches, std::int64_t first) {
  const auto whole = data.training_examples(first, batches.micro_batch_size);
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

// Differences take the training pass, with its kernels and its memory.
at::Tensor batch_gradient(const Model& model, ParameterStore& store, const Dataset& data,
                          const MomentBatches& batches, std::int64_t number) {
  const auto& parameters = store.parameters();
  auto sum = at::zeros(parameters.sizes(), parameters.options().dtype(at::kDouble));
  for (std::int64_t m = 0; m < batches.micro_batches; ++m) {
    if (stop_requested()) throw Stopped();
    const auto first = batches.first + number * batches.size() + m * batches.micro_batch_size;
    Curvature one(model, store, micro_batch(store, data, batches, first),
                  ProductMethod::finite_difference);
    sum.add_(one.gradient(), 1.0 / double(batches.micro_batches));
  }
  return sum.to(at::kCPU);
}

}  // namespace

MomentBatches hessian_moment_batches(const HessianConfig& config, std::int64_t count) {
  return {count, config.batches * config.batch_size, 1, config.batch_size, config.batch_size};
}

MomentBatches run_moment_batches(const RunConfig& config, std::int64_t sequence_length,
                                 std::int64_t count) {
  const auto& trainer = config.trainer;
  const auto micro = trainer.micro_batch_size * sequence_length;
  const auto tokens = trainer.global_batch_tokens == 0 ? micro : trainer.global_batch_tokens;
  require_input(tokens % micro == 0,
                "trainer.global_batch_tokens is {}, not a multiple of micro_batch_size {} x "
                "sequence_length {} = {}",
                tokens, trainer.micro_batch_size, sequence_length, micro);
  MomentBatches batches{count, 0, tokens / micro, trainer.micro_batch_size,
                        config.hessian.batch_size};
  const auto taken = config.hessian.batches * config.hessian.batch_size;
  batches.first = (taken + batches.size() - 1) / batches.size() * batches.size();
  return batches;
}

std::string moment_text(const MomentBatches& batches) {
  return fmt::format("{} squared gradients of {} examples each ({} x {}), before any clipping",
                     batches.of_group() * kMomentGroups, batches.size(), batches.micro_batches,
                     batches.micro_batch_size);
}

std::vector<at::Tensor> second_moments(const Model& model, ParameterStore& store,
                                       const Dataset& data, const MomentBatches& batches,
                                       const std::function<bool()>& observe) {
  std::vector<at::Tensor> moments(static_cast<std::size_t>(kMomentGroups));
  const auto each = batches.of_group();
  for (std::int64_t b = 0; b < each * kMomentGroups; ++b) {
    const auto squared =
        batch_gradient(model, store, data, batches, b).square_().div_(double(each));
    auto& group = moments[static_cast<std::size_t>(b % kMomentGroups)];
    group = group.defined() ? group.add_(squared) : squared;
    if (!observe()) return {};
  }
  return moments;
}

}  // namespace blockwise
