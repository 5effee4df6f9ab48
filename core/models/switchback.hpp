// SwitchBack: a linear layer whose forward product and whose gradient with respect to its input are
// products of 8-bit integers, while the weight's gradient, a sum over every token, is exact.
//
//   codes:  q(X) = round(127 X / s), ties to even, |q| <= 127;  rows of X and G share a scale
//           s = max |row|, W has one, max |W|; rows of zeros have codes 0
//   y   = (s_X s_W / 127^2) q(X) q(W)^T + bias        summed exactly in int32
//   g_X = (s_G s_W / 127^2) q(G) q(W)
//   g_W = G^T X,  g_bias = column sums of G           in the dtype of X
//
// x [.., in], weight [out, in] of one floating type, bias [out] of it or undefined -> [.., out].
// Numbers that are not finite make their row (of W: everything) so. Once differentiable. Extra
// memory: one byte per element of X and W, or of G and W, while the layer computes; none is kept.
// On a GPU, LibTorch's integer product wants more than 16 rows and sides that are multiples of 8.
//
// Source: Wortsman et al., arXiv 2304.13013, algorithm 1 (SwitchBack, the variant with one scale
// for W). Deviations: the paper computes in 16 bits; here the floating type is the layer's. Where
// activations are kept, they are the exact ones (the paper's SwitchBack, not SwitchBackM).
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

at::Tensor switchback_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace blockwise
