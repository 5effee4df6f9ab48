// The parameters at which curvature is measured: the same point in either precision, and one model.
#include "experiments/curvature/measured_store.hpp"

#include <ATen/ATen.h>

#include "core/base/json_fields.hpp"
#include "core/memory/memory_meter.hpp"
#include "core/model.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

TEST_CASE("A store in float64 is the float32 one's point, and no second model beside it") {
  const auto spec = model_families().make("gpt2");
  set_from_json(
      *spec,
      {{"vocab_size", 64}, {"block_size", 16}, {"n_layer", 2}, {"n_embd", 32}, {"n_head", 2}});
  const auto layout = spec->layout();
  RunConfig config;
  config.hessian.precision = "fp32";
  const auto narrow = measured_store(config, layout, at::kCPU);
  config.hessian.precision = "fp64";
  const MemoryMeter meter(at::kCPU);
  const auto wide = measured_store(config, layout, at::kCPU);
  const auto peak = meter.peak_allocated();
  CHECK(wide->parameters().scalar_type() == at::kDouble);
  CHECK(at::equal(wide->parameters(), narrow->parameters().to(at::kDouble)));
  std::int64_t largest = 0;
  for (const auto& tensor : layout.parameters()) largest = std::max(largest, tensor.size());
  // Parameters and gradients, and the draws of one tensor.
  CHECK(peak <= 2 * 8 * layout.size() + 4 * largest);
}
