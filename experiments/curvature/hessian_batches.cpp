#include "experiments/curvature/hessian_batches.hpp"

#include <ATen/ATen.h>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/data/ordered_examples.hpp"

namespace blockwise {

void require_examples(const HessianConfig& config, const Dataset& data, std::int64_t samples) {
  if (config.example_order() == ExampleOrder::sampled) return;
  const auto size = data.sequential_size();
  require_input(config.batches <= size / config.batch_size / samples,
                "hessian.order: sequential takes every example once, the training data have {}; {} "
                "x hessian.batches {} x hessian.batch_size {} are asked for",
                size, samples, config.batches, config.batch_size);
}

std::vector<Batch> hessian_batches(const HessianConfig& config, const Dataset& data,
                                   at::Device device, at::ScalarType dtype, std::int64_t sample) {
  require_examples(config, data, sample + 1);
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < config.batches; ++i) {
    const auto first = checked_product(
        "hessian.batches x hessian.batch_size",
        {checked_product("hessian: samples", {sample, config.batches}) + i, config.batch_size});
    auto batch = examples_in_order(config.example_order(), data, first, config.batch_size);
    if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(dtype);
    batches.push_back({batch.inputs.to(device), batch.targets.to(device)});
  }
  return batches;
}

namespace {

// One batch as sizes only, on the meta device.
Batch batch_shape(const HessianConfig& config, const Dataset& data) {
  const auto example = data.training_examples(0, 1);
  const auto widened = [&](const at::Tensor& x) {
    auto sizes = x.sizes().vec();
    sizes[0] = config.batch_size;
    const auto type = x.is_floating_point() ? config.dtype() : x.scalar_type();
    return at::empty(sizes, at::TensorOptions().dtype(type).device(at::kMeta));
  };
  return {widened(example.inputs), widened(example.targets)};
}

}  // namespace

ProductMemory hessian_memory(const RunConfig& config, const Dataset& data) {
  const auto& hessian = config.hessian;
  const auto files_from = hessian.files_from(config.model.spec->layout().size());
  return product_memory(*config.model.spec, hessian.dtype(), batch_shape(hessian, data),
                        hessian.batches,
                        {hessian.product_method(), hessian.curvature_kind(), files_from});
}

}  // namespace blockwise
