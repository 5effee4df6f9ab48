// Layers that several model families share, as functions of tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "core/model.hpp"

namespace blockwise {

// x [.., in], weight [out, in], bias [out] or undefined -> [.., out].
struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor operator()(const at::Tensor& x) const;
};

// LayerNorm with gain and optional bias over the last axis (Ba et al., arXiv 1607.06450).
struct LayerNorm {
  at::Tensor gain;
  at::Tensor bias;
  double eps = 1e-5;
  at::Tensor operator()(const at::Tensor& x) const;
};

// RMSNorm: x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich, arXiv 1910.07467, eq. 4).
struct RmsNorm {
  at::Tensor gain;
  double eps = 1e-5;
  at::Tensor operator()(const at::Tensor& x) const;
};

// Inverted dropout from the context's generator; the identity without one or with p = 0.
at::Tensor dropout(const at::Tensor& x, double p, ForwardContext& context);

// [B, T, heads * dim] -> [B, heads, T, dim], and back.
at::Tensor split_heads(const at::Tensor& x, std::int64_t heads);
at::Tensor merge_heads(const at::Tensor& x);

// Causal softmax(q k^T / sqrt(dim)) v. q [B, H, T, D]; k, v [B, H_kv, T, D] with H_kv dividing H.
// With dropout it is written out, so that the masks come from the run's own stream; without, it is
// LibTorch's fused kernel.
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            double dropout_p, ForwardContext& context);

// Rotary position embedding, rotate-half form (Su et al., arXiv 2104.09864; the pairing (i, i +
// D/2) is that of Hugging Face's LLaMA). x [B, H, T, D], D even; frequencies theta^(-2i/D).
class RotaryEmbedding {
 public:
  RotaryEmbedding(std::int64_t head_dim, std::int64_t positions, double theta,
                  const at::TensorOptions& options);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor cosine_;  // [positions, D]
  at::Tensor sine_;
};

// Where a position t of [B, T] is above the model's context: throws InputError.
void check_sequence(std::int64_t length, std::int64_t block_size, const std::string& family);

}  // namespace blockwise
