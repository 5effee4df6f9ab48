#include "core/models/llama.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/models/checkpointed_layer.hpp"
#include "core/models/key_value_cache.hpp"

namespace blockwise {
namespace {

struct LlamaLayer {
  RmsNorm input_norm, post_attention_norm;
  Linear q, k, v, o, gate, up, down;
  RmsNorm q_norm, k_norm;  // without a gain where the model has none
};

class Llama : public Model {
 public:
  Llama(const LlamaOptions& options, const ParameterStore& store);
  at::Tensor features(const at::Tensor& tokens, ForwardContext& context) const override;
  const Linear& head() const override { return head_; }

 private:
  LlamaLayer make_layer(std::int64_t index, const ParameterStore& store) const;
  at::Tensor layer(std::size_t index, const at::Tensor& x, const RotaryTable& positions,
                   ForwardContext& context) const;
  at::Tensor attention(std::size_t index, const at::Tensor& x, const RotaryTable& positions,
                       ForwardContext& context) const;

  LlamaOptions options_;
  at::Tensor token_embedding_;
  std::optional<RotaryEmbedding> rotary_;
  std::vector<LlamaLayer> layers_;
  RmsNorm final_norm_;
  Linear head_;
};

std::string prefix(std::int64_t layer) { return fmt::format("model.layers.{}.", layer); }

// ---- layout ----------------------------------------------------------------------------------

class LlamaLayoutBuilder {
 public:
  explicit LlamaLayoutBuilder(const LlamaOptions& options)
      : options_(options),
        residual_std_(options.init_std / std::sqrt(2.0 * static_cast<double>(options.n_layer))) {}

  ParameterLayout build() {
    auto& embedding =
        builder_.matrix("model.embed_tokens.weight", ParameterRole::token_embedding, -1,
                        {options_.sizes.vocab_size, options_.n_embd}, options_.init_std);
    if (options_.tie_word_embeddings) embedding.tied_names = {"lm_head.weight"};
    for (std::int64_t layer = 0; layer < options_.n_layer; ++layer) add_layer(layer);
    norm("model.norm", -1, options_.n_embd);
    if (!options_.tie_word_embeddings) {
      builder_.matrix("lm_head.weight", ParameterRole::lm_head, -1,
                      {options_.sizes.vocab_size, options_.n_embd}, options_.init_std);
    }
    return builder_.finish();
  }

 private:
  void add_layer(std::int64_t layer) {
    norm(prefix(layer) + "input_layernorm", layer, options_.n_embd);
    add_attention(prefix(layer) + "self_attn.", layer);
    norm(prefix(layer) + "post_attention_layernorm", layer, options_.n_embd);
    add_mlp(prefix(layer) + "mlp.", layer);
  }

  void add_attention(const std::string& p, std::int64_t layer) {
    const std::int64_t dim = options_.head_width();
    const Heads queries{options_.n_head, dim, Heads::Axis::rows, 1};
    const Heads keys{options_.kv_heads(), dim, Heads::Axis::rows,
                     options_.n_head / options_.kv_heads()};
    projection(p + "q_proj", ParameterRole::query, layer, queries);
    projection(p + "k_proj", ParameterRole::key, layer, keys);
    projection(p + "v_proj", ParameterRole::value, layer, keys);
    auto& output = weight(p + "o_proj", ParameterRole::attention_output, layer, options_.n_embd,
                          options_.n_head * dim);
    output.heads = {options_.n_head, dim, Heads::Axis::columns, 1};
    output.initialization.scale = residual_std_;
    if (options_.output_bias) bias(p + "o_proj", layer, options_.n_embd);
    if (options_.qk_norm) {
      norm(p + "q_norm", layer, dim);
      norm(p + "k_norm", layer, dim);
    }
  }

  void projection(const std::string& name, ParameterRole role, std::int64_t layer,
                  const Heads& heads) {
    const auto rows = heads.count * heads.dim;
    weight(name, role, layer, rows, options_.n_embd).heads = heads;
    if (options_.qkv_bias) bias(name, layer, rows);
  }

  void add_mlp(const std::string& p, std::int64_t layer) {
    weight(p + "gate_proj", ParameterRole::mlp_gate, layer, options_.mlp_width(), options_.n_embd);
    weight(p + "up_proj", ParameterRole::mlp_in, layer, options_.mlp_width(), options_.n_embd);
    weight(p + "down_proj", ParameterRole::mlp_out, layer, options_.n_embd, options_.mlp_width())
        .initialization.scale = residual_std_;
    if (!options_.mlp_bias) return;
    bias(p + "gate_proj", layer, options_.mlp_width());
    bias(p + "up_proj", layer, options_.mlp_width());
    bias(p + "down_proj", layer, options_.n_embd);
  }

  Parameter& weight(const std::string& name, ParameterRole role, std::int64_t layer,
                    std::int64_t out, std::int64_t in) {
    return builder_.matrix(name + ".weight", role, layer, {out, in}, options_.init_std);
  }

  void norm(const std::string& name, std::int64_t layer, std::int64_t width) {
    builder_.vector(name + ".weight", ParameterRole::norm, layer, width,
                    Initialization::Kind::ones);
  }

  void bias(const std::string& name, std::int64_t layer, std::int64_t size) {
    builder_.vector(name + ".bias", ParameterRole::bias, layer, size, Initialization::Kind::zeros);
  }

  const LlamaOptions& options_;
  double residual_std_;
  LayoutBuilder builder_;
};

// ---- forward ---------------------------------------------------------------------------------

Llama::Llama(const LlamaOptions& options, const ParameterStore& store)
    : options_(options), token_embedding_(store.tensor("model.embed_tokens.weight")) {
  rotary_.emplace(options.head_width(), options.sizes.block_size, options.rope_theta,
                  options.rope_scaling, token_embedding_.options());
  for (std::int64_t i = 0; i < options.n_layer; ++i) layers_.push_back(make_layer(i, store));
  final_norm_ = {store.tensor("model.norm.weight"), options.norm_eps};
  head_ = {store.tensor("lm_head.weight"), {}};
}

LlamaLayer Llama::make_layer(std::int64_t index, const ParameterStore& store) const {
  const auto p = prefix(index);
  const auto linear = [&](const std::string& name, bool bias) {
    return Linear{store.tensor(p + name + ".weight"),
                  bias ? store.tensor(p + name + ".bias") : at::Tensor(),
                  linear_kind(options_.linear)};
  };
  const auto norm = [&](const std::string& name) {
    return RmsNorm{store.tensor(p + name + ".weight"), options_.norm_eps};
  };
  const bool bias = options_.qkv_bias;
  LlamaLayer layer{norm("input_layernorm"),
                   norm("post_attention_layernorm"),
                   linear("self_attn.q_proj", bias),
                   linear("self_attn.k_proj", bias),
                   linear("self_attn.v_proj", bias),
                   linear("self_attn.o_proj", options_.output_bias),
                   linear("mlp.gate_proj", options_.mlp_bias),
                   linear("mlp.up_proj", options_.mlp_bias),
                   linear("mlp.down_proj", options_.mlp_bias),
                   {},
                   {}};
  if (options_.qk_norm) {
    layer.q_norm = norm("self_attn.q_norm");
    layer.k_norm = norm("self_attn.k_norm");
  }
  return layer;
}

at::Tensor Llama::attention(std::size_t index, const at::Tensor& x, const RotaryTable& positions,
                            ForwardContext& context) const {
  const auto& layer = layers_[index];
  auto q = split_heads(layer.q(x, context), options_.n_head);
  auto k = split_heads(layer.k(x, context), options_.kv_heads());
  auto v = split_heads(layer.v(x, context), options_.kv_heads());
  if (options_.qk_norm) {
    q = layer.q_norm(q, context);
    k = layer.k_norm(k, context);
  }
  q = rotate(q, positions, context);
  k = rotate(k, positions, context);
  if (context.cache != nullptr) std::tie(k, v) = context.cache->append(index, k, v);
  const AttentionOptions attention{options_.dropout, options_.sliding_window};
  const auto mixed = merge_heads(causal_attention(q, k, v, attention, context));
  return layer.o(mixed, context);
}

at::Tensor Llama::layer(std::size_t index, const at::Tensor& x, const RotaryTable& positions,
                        ForwardContext& context) const {
  const auto& layer = layers_[index];
  const auto mixed = attention(index, layer.input_norm(x, context), positions, context);
  const auto y = x + dropout(mixed, options_.dropout, context);
  const auto h = layer.post_attention_norm(y, context);
  const auto gated = swiglu(layer.gate(h, context), layer.up(h, context), context);
  return y + dropout(layer.down(gated, context), options_.dropout, context);
}

at::Tensor Llama::features(const at::Tensor& tokens, ForwardContext& context) const {
  const auto length = tokens.size(1);
  const auto first = first_position(context, length, options_.sizes.block_size, "llama");
  const auto positions = rotary_->table(first, length);
  auto x = dropout(at::embedding(token_embedding_, tokens), options_.dropout, context);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto run = [this, i, positions](const auto& y, auto& inner) {
      return layer(i, y, positions, inner);
    };
    x = run_layer(i, run, x, context);
  }
  if (context.cache != nullptr) context.cache->advance(length);
  return final_norm_(x, context);
}

}  // namespace

// ---- spec ------------------------------------------------------------------------------------

std::int64_t LlamaOptions::mlp_width() const {
  if (intermediate_size != 0) return intermediate_size;
  const std::int64_t multiple = n_embd < 1024 ? 16 : 256;
  return ((8 * n_embd / 3) + multiple - 1) / multiple * multiple;
}

namespace {

void visit_attention(FieldVisitor& v, LlamaOptions& o) {
  o.rope_scaling.visit(v);
  v.integer({"sliding_window", "positions that a token sees, itself included; 0 means all"},
            o.sliding_window, {0, 1 << 24});
  v.boolean({"qkv_bias", "biases on query, key and value (Qwen2)"}, o.qkv_bias);
  v.boolean({"output_bias", "bias on the attention output"}, o.output_bias);
  v.boolean({"mlp_bias", "biases in the SwiGLU"}, o.mlp_bias);
  v.boolean({"qk_norm", "RMSNorm over each query and key head (Qwen3)"}, o.qk_norm);
}

}  // namespace

void LlamaSpec::visit(FieldVisitor& v) {
  auto& o = options_;
  o.sizes.visit(v);
  v.integer({"n_layer", "transformer layers"}, o.n_layer, {1, 1024});
  v.integer({"n_head", "query heads"}, o.n_head, {1, 1024});
  v.integer({"n_kv_head", "key and value heads, a divisor of n_head; 0 means n_head"}, o.n_kv_head,
            {0, 1024});
  v.integer({"n_embd", "width of the residual stream"}, o.n_embd, {1, 1 << 16});
  v.integer({"head_dim", "width of a head, even; 0 means n_embd / n_head"}, o.head_dim,
            {0, 1 << 12});
  v.integer({"intermediate_size", "width of the SwiGLU; 0 means 8/3 n_embd, rounded up"},
            o.intermediate_size, {0, 1 << 18});
  v.real({"rope_theta", "base of the rotary frequencies"}, o.rope_theta, {1.0, 1e9, true, false});
  visit_attention(v, o);
  v.real({"norm_eps", "added to the mean square in RMSNorm"}, o.norm_eps, {0.0, 1.0, true, false});
  v.boolean({"tie_word_embeddings", "head and token embedding are one tensor"},
            o.tie_word_embeddings);
  v.real({"dropout", "probability, on embeddings, attention weights and residual branches"},
         o.dropout, {0.0, 1.0, false, true});
  v.real({"init_std", "standard deviation of the initial matrices"}, o.init_std,
         {0.0, 10.0, true, false});
  visit_linear(v, o.linear);
  v.check("n_kv_head", o.n_head % o.kv_heads() == 0
                           ? ""
                           : fmt::format("{} does not divide n_head {}", o.n_kv_head, o.n_head));
  v.check("n_embd", o.head_dim != 0 || o.n_embd % o.n_head == 0
                        ? ""
                        : fmt::format("{} is not a multiple of n_head {}; or give head_dim",
                                      o.n_embd, o.n_head));
  v.check("head_dim", o.head_width() % 2 == 0
                          ? ""
                          : fmt::format("{} is odd, rotary positions need pairs", o.head_width()));
  v.check("head_dim",
          o.head_width() > 2 || o.rope_scaling.kind != "dynamic"
              ? ""
              : fmt::format("{}, a dynamic rope_scaling needs more than 2", o.head_width()));
}

ParameterLayout LlamaSpec::layout() const {
  options_.sizes.require_known(family());
  constexpr std::int64_t kMostAngles = std::int64_t{1} << 30;  // rotary ones, held in memory
  checked_product("model.block_size x head_dim", {options_.sizes.block_size, options_.head_width()},
                  kMostAngles);
  return LlamaLayoutBuilder(options_).build();
}

std::unique_ptr<Model> LlamaSpec::build(const ParameterStore& store) const {
  return std::make_unique<Llama>(options_, store);
}

std::unique_ptr<ModelSpec> make_llama() { return std::make_unique<LlamaSpec>(); }

}  // namespace blockwise
