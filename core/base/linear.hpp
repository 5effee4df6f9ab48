// x [.., in], weight [out, in], bias [out] or undefined -> [.., out].
#pragma once

#include <ATen/core/Tensor.h>

#include "core/base/forward_context.hpp"

namespace blockwise {

// How a layer multiplies. switchback: by 8-bit integers (core/models/switchback.hpp), but exactly
// in passes that are differentiated twice, which curvature is measured by.
enum class LinearKind { exact, switchback };

struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  LinearKind kind = LinearKind::exact;
  // Computes in the weight's dtype and returns that of x; under autocast computes and returns
  // bfloat16.
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;
};

}  // namespace blockwise
