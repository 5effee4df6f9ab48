#include "core/models/layers.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "core/base/dense_product.hpp"
#include "core/base/error.hpp"
#include "core/base/tensor_bits.hpp"
#include "core/losses/twice_differentiable.hpp"
#include "core/models/blocked_attention.hpp"
#include "core/models/dense_linear.hpp"
#include "core/models/fused_activations.hpp"
#include "core/models/fused_rms_norm.hpp"
#include "core/models/key_value_cache.hpp"
#include "core/models/switchback.hpp"

namespace blockwise {

namespace {

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  LinearKind kind, const ForwardContext& context) {
  if (context.twice_differentiable) return at::linear(x, weight, bias);
  if (kind == LinearKind::switchback) return switchback_linear(x, weight, bias);
  const bool is_dense = context.cpu_kernels && is_dense_product(x, weight);
  return is_dense ? dense_linear(x, weight, bias) : at::linear(x, weight, bias);
}

}  // namespace

at::Tensor Linear::operator()(const at::Tensor& x, const ForwardContext& context) const {
  const auto type = context.autocast ? at::kBFloat16 : weight.scalar_type();
  const auto offset = bias.defined() ? bias.to(type) : bias;
  const auto y = linear(x.to(type), weight.to(type), offset, kind, context);
  return context.autocast ? y : y.to(x.scalar_type());
}

// LibTorch wants gain and bias of one dtype; in mixed precision only the gain stays float32. On the
// CPU x may be bfloat16 beside them, on a GPU it may not.
at::Tensor LayerNorm::operator()(const at::Tensor& x, const ForwardContext& context) const {
  if (context.twice_differentiable) {
    const auto y = twice_differentiable_normalization(x, eps, NormKind::layer) * gain;
    return bias.defined() ? y + bias : y;
  }
  const bool on_cpu = x.is_cpu() || (x.is_meta() && context.cpu_kernels);
  if (!on_cpu && gain.scalar_type() != x.scalar_type()) {
    const auto y = at::layer_norm(x, {x.size(-1)}, {}, {}, eps) * gain;
    return (bias.defined() ? y + bias : y).to(x.scalar_type());
  }
  const auto offset = bias.defined() ? bias.to(gain.scalar_type()) : bias;
  return at::layer_norm(x, {x.size(-1)}, gain, offset, eps);
}

// Elsewhere than in a kernel of ours a float32 gain on bfloat16 activations is applied to the
// rounded quotient, as Hugging Face does it, and the result must not widen what follows.
at::Tensor RmsNorm::operator()(const at::Tensor& x, const ForwardContext& context) const {
  if (context.twice_differentiable) {
    return twice_differentiable_normalization(x, eps, NormKind::rms) * gain;
  }
  if (has_cpu_kernel(x, context)) return fused_rms_norm(x, gain, eps);
  if (gain.scalar_type() == x.scalar_type()) return at::rms_norm(x, {x.size(-1)}, gain, eps);
  return (at::rms_norm(x, {x.size(-1)}, {}, eps) * gain).to(x.scalar_type());
}

LinearKind linear_kind(const std::string& name) {
  return name == "switchback" ? LinearKind::switchback : LinearKind::exact;
}

void visit_linear(FieldVisitor& v, std::string& name) {
  v.choice({"linear",
            "products of the layers' matrices: exact, or switchback: in int8 but for the "
            "weights' gradients"},
           name, {"exact", "switchback"});
}

at::Tensor gelu_tanh(const at::Tensor& x, const ForwardContext& context) {
  if (context.twice_differentiable) return twice_differentiable_gelu_tanh(x);
  return has_cpu_kernel(x, context) ? fused_activation(Curve::gelu_tanh, x) : at::gelu(x, "tanh");
}

at::Tensor gelu(const at::Tensor& x, const ForwardContext& context) {
  return context.twice_differentiable ? twice_differentiable_gelu(x) : at::gelu(x);
}

at::Tensor swiglu(const at::Tensor& x, const at::Tensor& z, const ForwardContext& context) {
  if (context.twice_differentiable) return twice_differentiable_silu(x) * z;
  return has_cpu_kernel(x, context) ? fused_gate(Curve::silu, x, z) : at::silu(x) * z;
}

namespace {

// Drawn where the generator is; on the meta device, where nothing is computed, no more than its
// sizes.
at::Tensor keep_mask(const at::Tensor& x, double p, ForwardContext& context) {
  if (x.is_meta()) return at::empty(x.sizes(), x.options().dtype(at::kFloat)).to(x.options());
  const auto drawn = at::TensorOptions(at::kFloat).device(context.dropout->device());
  return at::empty(x.sizes(), drawn).bernoulli_(1.0 - p, *context.dropout).to(x.options());
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, double p, ForwardContext& context) {
  if (p == 0.0 || !context.dropout) return x;
  return x * keep_mask(x, p, context) / (1.0 - p);
}

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), -1});
}

namespace {

// True where query row i of the last T of S positions must not see position j.
at::Tensor hidden_positions(std::int64_t queries, std::int64_t positions, std::int64_t window,
                            const at::Tensor& like) {
  const auto everything =
      at::ones({queries, positions}, at::TensorOptions().dtype(at::kBool).device(like.device()));
  const auto past = positions - queries;
  auto hidden = everything.triu(past + 1);
  // logical_or has no kernel for the meta device.
  if (window > 0) hidden = hidden.bitwise_or(everything.tril(past - window));
  return hidden;
}

at::Tensor written_out_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const AttentionOptions& options, ForwardContext& context) {
  const auto hidden = hidden_positions(q.size(2), k.size(2), options.window, q);
  const auto scores = at::matmul(q / std::sqrt(double(q.size(3))), k.transpose(-2, -1));
  if (context.twice_differentiable) {
    return at::matmul(twice_differentiable_softmax(scores, hidden), v);
  }
  const auto masked = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  return at::matmul(dropout(at::softmax(masked, -1), options.dropout, context), v);
}

// 0 where a query sees a position, -inf where it does not: what LibTorch makes of a mask of bools.
at::Tensor attention_mask(const at::Tensor& q, const at::Tensor& k, std::int64_t window) {
  const auto hidden = hidden_positions(q.size(2), k.size(2), window, q);
  return at::zeros({q.size(2), k.size(2)}, q.options())
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

// Elsewhere than on a CPU, in float64, and where a cache holds earlier keys: LibTorch's.
at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           std::int64_t window) {
  const bool all_new = q.size(2) == k.size(2);
  const bool windowed = window > 0 && window < k.size(2);
  const bool masked = windowed || (!all_new && q.size(2) > 1);
  const auto mask =
      masked ? std::optional(attention_mask(q, k, window)) : std::optional<at::Tensor>();
  const bool causal = all_new && !masked;
  // The dispatcher does not choose for the meta device; this is what it takes on the CPU.
  if (q.is_meta()) {
    return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, mask));
  }
  return at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal);
}

}  // namespace

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options, ForwardContext& context) {
  const bool drops = options.dropout > 0.0 && context.dropout;
  const bool fused = !drops && !context.twice_differentiable;
  if (fused && context.cpu_kernels && can_block_attention(q, k, v))
    return blocked_attention(q, k, v, options.window);
  const std::int64_t groups = q.size(1) / k.size(1);
  const auto keys = groups == 1 ? k : k.repeat_interleave(groups, 1);
  const auto values = groups == 1 ? v : v.repeat_interleave(groups, 1);
  return fused ? fused_attention(q, keys, values, options.window)
               : written_out_attention(q, keys, values, options, context);
}

std::int64_t first_position(const ForwardContext& context, std::int64_t length,
                            std::int64_t block_size, const std::string& family) {
  const std::int64_t first = context.cache == nullptr ? 0 : context.cache->length();
  require_input(first + length <= block_size, "model {}: a sequence of {} tokens, block_size is {}",
                family, first + length, block_size);
  return first;
}

}  // namespace blockwise
