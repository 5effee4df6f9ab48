#include "core/models/layers.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace blockwise {

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, gain, bias, eps);
}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  return at::rms_norm(x, {x.size(-1)}, gain, eps);
}

at::Tensor dropout(const at::Tensor& x, double p, ForwardContext& context) {
  if (p == 0.0 || !context.dropout) return x;
  const auto mask = at::empty(x.sizes(), at::kFloat).bernoulli_(1.0 - p, *context.dropout);
  return x * mask.to(x.options()) / (1.0 - p);
}

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), -1});
}

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            double dropout_p, ForwardContext& context) {
  const std::int64_t groups = q.size(1) / k.size(1);
  const auto keys = groups == 1 ? k : k.repeat_interleave(groups, 1);
  const auto values = groups == 1 ? v : v.repeat_interleave(groups, 1);
  if (dropout_p == 0.0 || !context.dropout) {
    return at::scaled_dot_product_attention(q, keys, values, {}, 0.0, /*is_causal=*/true);
  }
  const std::int64_t length = q.size(2);
  const auto future = at::ones({length, length}, q.options().dtype(at::kBool)).triu(1);
  const auto scores = at::matmul(q, keys.transpose(-2, -1)) / std::sqrt(double(q.size(3)));
  const auto masked = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  return at::matmul(dropout(at::softmax(masked, -1), dropout_p, context), values);
}

RotaryEmbedding::RotaryEmbedding(std::int64_t head_dim, std::int64_t positions, double theta,
                                 const at::TensorOptions& options) {
  // Angles in double: at position 1e5 a float angle is wrong in its third digit.
  const auto wide = at::TensorOptions().dtype(at::kDouble);
  const auto exponent = at::arange(0, head_dim, 2, wide) / static_cast<double>(head_dim);
  const auto angles =
      at::outer(at::arange(positions, wide), at::pow(at::scalar_tensor(theta, wide), -exponent));
  const auto both = at::cat({angles, angles}, 1);
  cosine_ = both.cos().to(options);
  sine_ = both.sin().to(options);
}

at::Tensor RotaryEmbedding::operator()(const at::Tensor& x) const {
  const std::int64_t length = x.size(2);
  const auto halves = x.chunk(2, -1);
  const auto rotated = at::cat({-halves[1], halves[0]}, -1);
  return x * cosine_.narrow(0, 0, length) + rotated * sine_.narrow(0, 0, length);
}

void check_sequence(std::int64_t length, std::int64_t block_size, const std::string& family) {
  require_input(length <= block_size, "model {}: a sequence of {} tokens, block_size is {}", family,
                length, block_size);
}

}  // namespace blockwise
