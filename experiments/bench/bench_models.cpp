#include "experiments/bench/bench_models.hpp"

#include <ATen/ATen.h>

#include "core/base/json_fields.hpp"
#include "core/base/random_stream.hpp"

namespace blockwise {
namespace {

constexpr BenchModel kModels[] = {{"0.6M", 96, 4, 4, 1024, 128, 8},
                                  {"12M", 384, 6, 6, 4096, 128, 8},
                                  {"30M", 384, 6, 6, 50304, 256, 8}};

}  // namespace

std::span<const BenchModel> bench_models() { return kModels; }

std::unique_ptr<ModelSpec> model_spec(const BenchModel& model) {
  auto spec = model_families().make("gpt2");
  set_from_json(*spec, {{"vocab_size", model.vocabulary},
                        {"block_size", model.length},
                        {"n_layer", model.layers},
                        {"n_head", model.heads},
                        {"n_embd", model.width}});
  return spec;
}

Batch random_batch(const BenchModel& model, at::Device device) {
  auto generator = make_generator(2, RandomStream::data);
  const std::vector<std::int64_t> shape{model.sequences, model.length};
  const auto inputs = at::randint(model.vocabulary, shape, generator, at::kLong);
  const auto targets = at::randint(model.vocabulary, shape, generator, at::kLong);
  return {inputs.to(device), targets.to(device)};
}

}  // namespace blockwise
