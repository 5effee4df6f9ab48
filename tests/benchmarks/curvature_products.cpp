// Curvature products in gradients of the same model, and what Lanczos costs beside its products:
//
//   build/release/bench_hessian --benchmark_enable_random_interleaving=true
//   --benchmark_repetitions=5
//
// The model: GPT of 12.3 M parameters (width 384, 6 layers, vocabulary 4096, tied), 8 sequences of
// 128 tokens. `gradient` is the training pass (fused attention); divide the others by it.
// lanczos/100 shows the share of its time that is not products (counter `beside`), with full
// reorthogonalisation.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <chrono>

#include "core/autograd.hpp"
#include "core/base/random_stream.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/lanczos.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;

namespace {

struct Case {
  std::unique_ptr<ModelSpec> spec = testing::model_spec(
      "gpt2",
      {{"vocab_size", 4096}, {"block_size", 128}, {"n_layer", 6}, {"n_head", 6}, {"n_embd", 384}});
  ParameterStore store{spec->layout(), at::kCPU};
  std::unique_ptr<Model> model;
  Batch batch;

  Case() {
    store.initialize(1);
    model = spec->build(store);
    auto generator = make_generator(2, RandomStream::data);
    batch = {at::randint(4096, {8, 128}, generator, at::kLong),
             at::randint(4096, {8, 128}, generator, at::kLong)};
  }
};

Case& shared() {
  static Case instance;
  return instance;
}

at::Tensor direction(std::int64_t size) {
  auto generator = make_generator(3, RandomStream::probe);
  return at::randn({size}, generator, at::kFloat);
}

void gradient(benchmark::State& state) {
  for (auto _ : state) {
    shared().store.zero_gradients();
    ForwardContext context;
    backward(shared().model->loss(shared().batch, context));
  }
}

// The same with attention that differentiates twice, as the products have it.
void gradient_plain_attention(benchmark::State& state) {
  for (auto _ : state) {
    Curvature curvature(*shared().model, shared().store, {shared().batch},
                        ProductMethod::fresh_graph);
    benchmark::DoNotOptimize(curvature.gradient());
  }
}

void product(benchmark::State& state, ProductMethod method, CurvatureKind kind) {
  Curvature curvature(*shared().model, shared().store, {shared().batch}, method);
  const ParameterSubset all(shared().spec->layout());
  const CurvatureOperator a(curvature, kind, all);
  const auto v = direction(all.size());
  auto y = at::empty_like(v);
  a.apply(v, y);  // the graph, or the gradient that differences start from
  for (auto _ : state) a.apply(v, y);
}

// The first layer's, second's, .. blocks, each with a vector of its own, from one kept graph.
void four_layers(benchmark::State& state) {
  Curvature curvature(*shared().model, shared().store, {shared().batch});
  const auto layout = shared().spec->layout();
  std::vector<ParameterSubset> layers;
  for (std::int64_t i = 0; i < 4; ++i) {
    layers.push_back(ParameterSubset::matching(
        layout, [i](const Parameter& parameter) { return parameter.layer == i; }, "layer"));
  }
  const BlockDiagonalOperator a(curvature, CurvatureKind::hessian, layers);
  const auto v = direction(a.columns());
  auto y = at::empty_like(v);
  a.apply(v, y);
  for (auto _ : state) a.apply(v, y);
}

void lanczos(benchmark::State& state) {
  using Clock = std::chrono::steady_clock;
  Curvature curvature(*shared().model, shared().store, {shared().batch});
  const ParameterSubset all(shared().spec->layout());
  const CurvatureOperator a(curvature, CurvatureKind::hessian, all);
  const auto v = direction(all.size());
  auto y = at::empty_like(v);
  a.apply(v, y);
  double products = 0.0, whole = 0.0;
  const FunctionOperator timed(all.size(), v.options(), [&](const at::Tensor& x) {
    const auto start = Clock::now();
    a.apply(x, y);
    products += std::chrono::duration<double>(Clock::now() - start).count();
    return y;
  });
  for (auto _ : state) {
    const auto start = Clock::now();
    Lanczos process(timed, v, {.steps = state.range(0)});
    process.run();
    whole += std::chrono::duration<double>(Clock::now() - start).count();
  }
  state.counters["beside"] = (whole - products) / whole;
}

BENCHMARK(gradient)->Unit(benchmark::kMillisecond);
BENCHMARK(gradient_plain_attention)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(product, kept_graph, ProductMethod::kept_graph, CurvatureKind::hessian)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(product, fresh_graph, ProductMethod::fresh_graph, CurvatureKind::hessian)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(product, finite_difference, ProductMethod::finite_difference,
                  CurvatureKind::hessian)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(product, gauss_newton, ProductMethod::kept_graph, CurvatureKind::gauss_newton)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(four_layers)->Unit(benchmark::kMillisecond);
BENCHMARK(lanczos)->Arg(100)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
