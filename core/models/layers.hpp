// Layers that several model families share, as functions of tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "core/base/linear.hpp"
#include "core/model.hpp"

namespace blockwise {

// LayerNorm with gain and optional bias over the last axis (Ba et al., arXiv 1607.06450).
struct LayerNorm {
  at::Tensor gain;
  at::Tensor bias;
  double eps = 1e-5;
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;
};

// RMSNorm: x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich, arXiv 1910.07467, eq. 4).
struct RmsNorm {
  at::Tensor gain;
  double eps = 1e-5;
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;
};

// The options' word for how the layers' matrices multiply: "exact" or "switchback".
LinearKind linear_kind(const std::string& name);
void visit_linear(FieldVisitor& v, std::string& name);

// The activations between a layer's matrices.
at::Tensor gelu_tanh(const at::Tensor& x, const ForwardContext& context);
at::Tensor gelu(const at::Tensor& x, const ForwardContext& context);
// silu(x) z (Shazeer, arXiv 2002.05202, eq. 6, without its matrices).
at::Tensor swiglu(const at::Tensor& x, const at::Tensor& z, const ForwardContext& context);

// Inverted dropout from the context's generator; the identity without one or with p = 0.
at::Tensor dropout(const at::Tensor& x, double p, ForwardContext& context);

// [B, T, heads * dim] -> [B, heads, T, dim], and back.
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads);
at::Tensor merge_heads(const at::Tensor& x);

// Causal softmax(q k^T / sqrt(dim)) v. q [B, H, T, D]; k, v [B, H_kv, S, D] with H_kv dividing H
// and S >= T: the T queries are the last of the S positions. With window > 0 a position sees itself
// and the window - 1 before it. With dropout it is written out, so that the masks come from the
// run's own stream; without, whole sequences in float32 and bfloat16 on a CPU are ours
// (blocked_attention.hpp), others LibTorch's fused kernel.
struct AttentionOptions {
  double dropout = 0.0;
  std::int64_t window = 0;
};
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options, ForwardContext& context);

// Position of the first of `length` new tokens: 0, or behind what the context's cache holds. Throws
// InputError where the last one is above the model's context.
std::int64_t first_position(const ForwardContext& context, std::int64_t length,
                            std::int64_t block_size, const std::string& family);

}  // namespace blockwise
