// Independent estimates of the second moment of the gradient, E g^2, at one point.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <vector>

#include "core/dataset.hpp"
#include "core/model.hpp"
#include "experiments/hessian_config.hpp"

namespace blockwise {

inline constexpr std::int64_t kMomentGroups = 4;

// kMomentGroups means of the squared gradient [parameters], float64 on the host, over `batches`
// batches of hessian.batch_size in all (rounded down to a multiple of the groups): the training
// examples behind those of the Hessian. One gradient per batch; `observe` after each.
std::vector<at::Tensor> second_moments(const Model& model, ParameterStore& store,
                                       const Dataset& data, const HessianConfig& config,
                                       std::int64_t batches, const std::function<void()>& observe);

}  // namespace blockwise
