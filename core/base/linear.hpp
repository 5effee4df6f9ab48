// x [.., in], weight [out, in], bias [out] or undefined -> [.., out].
#pragma once

#include <ATen/core/Tensor.h>

#include "core/base/forward_context.hpp"

namespace blockwise {

struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  // Computes in the weight's dtype and returns that of x; under autocast computes and returns
  // bfloat16.
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;
};

}  // namespace blockwise
