#include "experiments/hessian_batches.hpp"

#include <ATen/ATen.h>

namespace blockwise {

std::vector<Batch> hessian_batches(const HessianConfig& config, const Dataset& data,
                                   at::Device device, at::ScalarType dtype) {
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < config.batches; ++i) {
    auto batch = data.training_examples(i * config.batch_size, config.batch_size);
    if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(dtype);
    batches.push_back({batch.inputs.to(device), batch.targets.to(device)});
  }
  return batches;
}

}  // namespace blockwise
