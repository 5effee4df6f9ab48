#include "optimizers/replay.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "core/base/error.hpp"
#include "optimizers/optimizer.hpp"
#include "optimizers/random_draws.hpp"

namespace blockwise {
namespace {

// Where the next step of the optimizer is step number `s + 1` of the recording.
void learn_curvature(const Recording& recording, std::size_t s, ParameterStore& store,
                     Optimizer& optimizer) {
  const auto& parameters = recording.layout.parameters();
  const auto& curvature = recording.steps[s].curvature;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const bool wanted = optimizer.wants_curvature(i);
    require_input(wanted == curvature[i].defined(), "{}: 'curvature/{}/{}' {}", recording.path,
                  s + 1, parameters[i].name,
                  wanted
                      ? "is missing: the rule takes an estimate of the curvature before this step"
                      : "is taken by no rule before this step");
    const auto gradient = store.gradient(i);
    if (!wanted) {
      gradient.zero_();
      continue;
    }
    gradient.copy_(curvature[i]);
    require_input(!gradient.lt(0).any().item<bool>(), "{}: 'curvature/{}/{}' has a negative value",
                  recording.path, s + 1, parameters[i].name);
  }
  if (optimizer.wants_curvature()) optimizer.learn_curvature();
}

}  // namespace

Replay replay(const Recording& recording, const OptimizerConfig& config, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const auto& parameters = recording.layout.parameters();
  ParameterStore store(recording.layout, at::kCPU);
  for (std::size_t i = 0; i < parameters.size(); ++i) store.master(i).copy_(recording.weights[i]);
  Optimizer optimizer(config, store, seed);
  GivenDraws draws(recording.path, recording.draws);
  if (!recording.draws.empty()) optimizer.use_draws(draws);
  Replay outcome;
  for (std::size_t s = 0; s < recording.steps.size(); ++s) {
    const auto& step = recording.steps[s];
    learn_curvature(recording, s, store, optimizer);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      store.gradient(i).copy_(step.gradients[i]);
    }
    const auto before = optimizer.steps();
    outcome.update_norm = optimizer.step(config.learning_rate * step.rate).update_norm;
    if (optimizer.steps() == before) ++outcome.skipped;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      outcome.tensors.emplace_back(fmt::format("param/{}/{}", s + 1, parameters[i].name),
                                   store.master(i).clone());
    }
  }
  draws.require_all_used();
  for (const auto& [name, tensor] : optimizer.saved_state()) {
    outcome.tensors.emplace_back("state/" + name, tensor.clone());
  }
  return outcome;
}

}  // namespace blockwise
