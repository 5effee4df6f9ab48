// Operations whose second backward pass is written out. LibTorch differentiates its own first
// backward formulas operation by operation, which for these takes several times as many passes over
// memory; here a product costs a handful. For each, with J the Jacobian of the operation at x:
//   backward         s -> J^T s
//   second backward  u -> ( d <u, J^T s> / ds, d <u, J^T s> / dx )
// A third derivative is an error. Results equal LibTorch's to rounding.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// f(x) element by element: d/ds = u f'(x), d/dx = u s f''(x).
at::Tensor twice_differentiable_gelu_tanh(const at::Tensor& x);
at::Tensor twice_differentiable_gelu(const at::Tensor& x);
at::Tensor twice_differentiable_silu(const at::Tensor& x);

// Over the last axis: z = (x - mean) / sqrt(variance + eps) of a layer norm, x / sqrt(mean square +
// eps) of an RMS norm. With r the reciprocal root, c(a) = mean(a z), m(a) = mean(a), which is 0 for
// an RMS norm:
//   J a = r (a - m(a) - z c(a)), symmetric;  d/ds = J u,
//   d/dx = -r ( z mean(u . J s) + c(s) J u + c(u) J s )
enum class NormKind { layer, rms };
at::Tensor twice_differentiable_normalization(const at::Tensor& x, double eps, NormKind kind);

// p = softmax of the scores over the last axis, 0 where hidden is true. With a = u - sum(p u) and
// b = s - sum(p s):  d/ds = p a,  d/dx = p (a b - sum(p a b)).
at::Tensor twice_differentiable_softmax(const at::Tensor& scores, const at::Tensor& hidden);

}  // namespace blockwise
