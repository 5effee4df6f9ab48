// Bytes per second of an optimizer step over the tensors of GPT-2 124M, beside LibTorch's fused
// AdamW in the same process:
//
//   build/release/bench_optimizers --benchmark_enable_random_interleaving=true
//
// BLOCKWISE_BENCH_LAYERS (default 12) scales the model down where memory is short. Bytes are those
// that the update must move once: parameters read and written, gradients read, state read and
// written. The norm for clipping reads the gradients once more; LibTorch's kernel has no such pass,
// so `update` leaves it out and `step` has it.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "optimizers/optimizer.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;

namespace {

ParameterStore& store() {
  static ParameterStore instance = [] {
    const char* layers = std::getenv("BLOCKWISE_BENCH_LAYERS");
    const auto spec = testing::model_spec("gpt2", {{"vocab_size", 50257},
                                                   {"block_size", 1024},
                                                   {"n_layer", layers ? std::atoi(layers) : 12}});
    ParameterStore fresh(spec->layout(), at::kCPU);
    fresh.initialize(1);
    fresh.gradients().normal_(0.0, 1e-3);
    return fresh;
  }();
  return instance;
}

void report(benchmark::State& state, std::int64_t state_bytes) {
  const std::int64_t n = store().layout().size();
  state.SetBytesProcessed(state.iterations() * (12 * n + 2 * state_bytes));
}

// Optimizer::step: norm, clipping and update.
void step(benchmark::State& state, const std::string& rule) {
  OptimizerConfig config;
  config.rule = rule;
  testing::set_fields(config, nlohmann::json::object());
  Optimizer optimizer(config, store());
  for (auto _ : state) optimizer.step(1e-6);
  std::int64_t bytes = 0;
  for (const auto& [name, held] : optimizer.state().bytes()) bytes += held;
  report(state, bytes);
}

// The rule's update alone.
void update(benchmark::State& state, const std::string& rule_name, const std::string& partition) {
  const at::NoGradGuard no_grad;
  OptimizerConfig config;
  config.rule = rule_name;
  testing::set_fields(config, nlohmann::json::object());
  const auto& layout = store().layout();
  const auto blocks = make_partition(layout, partition);
  const RuleSet rules(config, layout);
  std::vector<std::vector<StateSpec>> specs;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    specs.push_back(rules.of(i).rule->state(layout.parameters()[i], blocks.tensors()[i]));
  }
  const StateStore states(layout, specs, at::kCPU);
  std::vector<ParameterStep> steps;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    steps.push_back({layout.parameters()[i], blocks.tensors()[i], store().master(i),
                     store().gradient(i), states.of(i), 0.1, nullptr});
  }
  kernels::Workspace space;
  std::int64_t t = 0;
  for (auto _ : state) {
    const StepScope scope{++t, 1e-6, 1.0, 0, space};
    for (std::size_t i = 0; i < steps.size(); ++i) {
      rules.of(i).rule->fused(KernelKey::of(steps[i]))->apply(steps[i], scope);
    }
  }
  std::int64_t bytes = 0;
  for (const auto& [name, held] : states.bytes()) bytes += held;
  report(state, bytes);
}

void fused_adamw(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parameters, gradients, first, second, steps;
  for (const auto& tensor : store().tensors()) {
    parameters.push_back(tensor.detach());
    gradients.push_back(tensor.grad());
    first.push_back(at::zeros_like(parameters.back()));
    second.push_back(at::zeros_like(parameters.back()));
    steps.push_back(at::zeros({}));
  }
  for (auto _ : state) {
    for (auto& step_count : steps) step_count.add_(1.0);
    at::_fused_adamw_(parameters, gradients, first, second, {}, steps, /*lr=*/1e-6, 0.9, 0.95,
                      /*weight_decay=*/0.1, 1e-8, /*amsgrad=*/false, /*maximize=*/false);
  }
  report(state, 8 * store().layout().size());
}

BENCHMARK(fused_adamw)
    ->Name("update/at::_fused_adamw_")
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
#define UPDATE(name, rule, partition) \
  BENCHMARK_CAPTURE(update, name, rule, partition)->Unit(benchmark::kMillisecond)->UseRealTime()
UPDATE(adamw, "adamw", "per_element");
UPDATE(adam_mini, "adam_mini", "adam_mini");
UPDATE(adam_mini_per_head, "adam_mini", "per_head");
UPDATE(adam_mini_per_column, "adam_mini", "per_column");
UPDATE(adam_mini_per_tensor, "adam_mini", "per_tensor");
UPDATE(adam_mini_factored, "adam_mini", "factored");
UPDATE(sgd_momentum, "sgd_momentum", "per_element");
UPDATE(lomo, "lomo", "per_element");
BENCHMARK_CAPTURE(step, adamw, "adamw")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(step, adam_mini, "adam_mini")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(step, sgd_momentum, "sgd_momentum")->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
