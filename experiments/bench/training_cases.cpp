// One step of training: forward, backward, clipping, AdamW. FLOPs of a token: 6 for every parameter
// in a matrix and 12 L T n for attention (Chowdhery et al., arXiv 2204.02311, appendix B), L layers
// of width n and T positions; the limit is the product of the MLP's shape in the same number
// format.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>

#include "core/autograd.hpp"
#include "core/base/json_fields.hpp"
#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/bench_models.hpp"
#include "experiments/bench/memory_cases.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {
namespace {

struct Format {
  const char* name;
  at::ScalarType products;
  bool autocast, masters;
};

constexpr Format kFormats[] = {{"fp32", at::kFloat, false, false},
                               {"bf16", at::kBFloat16, false, true},
                               {"bf16_autocast", at::kBFloat16, true, false}};

OptimizerConfig adamw() {
  OptimizerConfig config;
  config.rule = "adamw";
  set_from_json(config, {{"rule", "adamw"}});
  return config;
}

struct Step {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::unique_ptr<Optimizer> optimizer;
  Batch batch;
  bool autocast;

  Step(const BenchModel& size, const Format& format, at::Device device)
      : spec(model_spec(size)), batch(random_batch(size, device)), autocast(format.autocast) {
    const auto mixed = format.masters ? std::optional(MixedPrecision{}) : std::nullopt;
    store = std::make_unique<ParameterStore>(spec->layout(), device, at::kFloat, mixed);
    store->initialize(1);
    model = spec->build(*store);
    optimizer = std::make_unique<Optimizer>(adamw(), *store);
  }

  void operator()() {
    store->zero_gradients();
    ForwardContext context;
    context.autocast = autocast;
    context.cpu_kernels = store->device().is_cpu();
    backward(model->loss(batch, context));
    optimizer->step(1e-4);
  }
};

double flops(const BenchModel& size, const ParameterLayout& layout) {
  double in_matrices = 0.0;
  for (const auto& parameter : layout.parameters()) {
    const bool looked_up = parameter.role == ParameterRole::position_embedding;
    if (parameter.shape.size() == 2 && !looked_up) in_matrices += double(parameter.size());
  }
  const double of_token = 6.0 * in_matrices + 12.0 * double(size.layers * size.length * size.width);
  return of_token * double(size.length * size.sequences);
}

const char* limit_of(at::ScalarType type) {
  return type == at::kFloat ? "product float32" : "product bfloat16";
}

}  // namespace

BenchGroup training_steps(const BenchSubject& sizes) {
  BenchGroup group{"training", {}};
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    group.cases.push_back(product_case(limit_of(type), {1024, 512, 2048}, type, sizes.device));
  }
  for (const auto& size : bench_models().first(std::size_t(sizes.models))) {
    for (const auto& format : kFormats) {
      const auto step = std::make_shared<Step>(size, format, sizes.device);
      group.cases.push_back({.name = fmt::format("{} {}", size.name, format.name),
                             .run = [step] { (*step)(); },
                             .flops = flops(size, step->spec->layout()),
                             .tokens = double(size.length * size.sequences),
                             .limit = limit_of(format.products),
                             .baseline = fmt::format("{} fp32", size.name)});
    }
  }
  return group;
}

}  // namespace blockwise
