#include "experiments/curvature/measured_examples.hpp"

#include <ATen/ATen.h>

#include "experiments/curvature/hessian_batches.hpp"

namespace blockwise {
namespace {

void add(std::vector<std::int64_t>& values, const at::Tensor& tokens) {
  const auto flat = tokens.contiguous();
  const auto* first = flat.data_ptr<std::int64_t>();
  values.insert(values.end(), first, first + flat.numel());
}

}  // namespace

MeasuredExamples measured_examples(const HessianConfig& config, const Dataset& data) {
  require_examples(config, data);
  MeasuredExamples measured;
  std::int64_t example = 0;
  for (std::int64_t b = 0; b < config.batches; ++b) {
    for (std::int64_t i = 0; i < config.batch_size; ++i) {
      measured.examples.push_back({b, data.place(config.example_order(), example++)});
    }
  }
  if (data.shape().inputs != DataShape::Inputs::tokens) return measured;
  for (const auto& batch : hessian_batches(config, data, at::kCPU)) {
    add(measured.inputs, batch.inputs);
    add(measured.targets, batch.targets);
  }
  return measured;
}

}  // namespace blockwise
