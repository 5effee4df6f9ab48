// Causal attention on the CPU by our own kernel, block by block, with its gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blockwise {

// Whether blocked_attention takes these: one dtype, float32 or bfloat16, on the CPU (or the meta
// device), as many queries as keys, heads of at most 256 numbers.
bool can_block_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// Causal softmax(q k^T / sqrt(D)) v. q [B, H, T, D]; k, v [B, H_kv, T, D] with H_kv dividing H,
// with any strides; with window > 0 a position sees itself and the window - 1 before it. The result
// and the gradients are views of dense [B, T, heads, D], so that heads merge without a copy.
// Between loads and stores everything is float32. Held for the backward pass: q, k, v, the result
// and the rows' log-sum-exp, float32 [B, H, T]; probabilities are computed again. Scratch: of each
// thread some 2 T D floats forward, 5 backward (core/kernels/causal_attention.hpp).
// A head of keys with its queries is one task, so results do not depend on the number of threads.
// NaN or an infinity in an operand makes NaN of the rows that see it. Once differentiable: a second
// derivative throws InvariantError.
at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             std::int64_t window);

}  // namespace blockwise
