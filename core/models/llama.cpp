// The LLaMA family (Touvron et al., arXiv 2302.13971): RMSNorm before each branch, rotary
// positions, SwiGLU, grouped-query attention, no biases; head_dim free of n_embd / n_head; head
// tied or not. Initialisation: N(0, init_std^2), residual projections divided by sqrt(2 n_layer).
#include <ATen/ATen.h>

#include <cmath>

#include "core/error.hpp"
#include "core/models/layers.hpp"
#include "core/models/layout_builder.hpp"

namespace blockwise {
namespace {

struct LlamaOptions {
  TokenSizes sizes;
  std::int64_t n_layer = 8;
  std::int64_t n_head = 8;
  std::int64_t n_kv_head = 0;
  std::int64_t n_embd = 512;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;
  bool tie_word_embeddings = false;
  double dropout = 0.0;
  double init_std = 0.02;

  std::int64_t kv_heads() const { return n_kv_head == 0 ? n_head : n_kv_head; }
  std::int64_t head_width() const { return head_dim == 0 ? n_embd / n_head : head_dim; }
  // SwiGLU has three matrices where GELU has two: 2/3 of 4 n_embd, rounded up to a multiple of 16
  // below width 1024 and of 256 from there on.
  std::int64_t mlp_width() const {
    if (intermediate_size != 0) return intermediate_size;
    const std::int64_t multiple = n_embd < 1024 ? 16 : 256;
    return ((8 * n_embd / 3) + multiple - 1) / multiple * multiple;
  }
};

struct LlamaLayer {
  RmsNorm input_norm, post_attention_norm;
  Linear q, k, v, o, gate, up, down;
};

class Llama : public Model {
 public:
  Llama(const LlamaOptions& options, const ParameterStore& store);
  at::Tensor logits(const at::Tensor& tokens, ForwardContext& context) const override;

 private:
  at::Tensor attention(const LlamaLayer& layer, const at::Tensor& x, ForwardContext& context) const;

  LlamaOptions options_;
  RotaryEmbedding rotary_;
  at::Tensor token_embedding_;
  std::vector<LlamaLayer> layers_;
  RmsNorm final_norm_;
  Linear head_;
};

class LlamaSpec : public ModelSpec {
 public:
  std::string family() const override { return "llama"; }
  std::string doc() const override {
    return "LLaMA: RMSNorm, rotary positions, SwiGLU, grouped-query attention";
  }
  void visit(FieldVisitor& v) override;
  void adapt_to(const DataShape& data) override { options_.sizes.adapt_to(data, family()); }
  ParameterLayout layout() const override;
  std::unique_ptr<Model> build(const ParameterStore& store) const override {
    return std::make_unique<Llama>(options_, store);
  }
  std::unique_ptr<ModelSpec> clone() const override { return std::make_unique<LlamaSpec>(*this); }

 private:
  LlamaOptions options_;
};

std::string prefix(std::int64_t layer) { return fmt::format("model.layers.{}.", layer); }

// ---- layout ----------------------------------------------------------------------------------

class LlamaLayoutBuilder {
 public:
  explicit LlamaLayoutBuilder(const LlamaOptions& options)
      : o_(options),
        residual_std_(options.init_std / std::sqrt(2.0 * static_cast<double>(options.n_layer))) {}

  ParameterLayout build() {
    auto& embedding = builder_.matrix("model.embed_tokens.weight", ParameterRole::token_embedding,
                                      -1, o_.sizes.vocab_size, o_.n_embd, o_.init_std);
    if (o_.tie_word_embeddings) embedding.tied_names = {"lm_head.weight"};
    for (std::int64_t layer = 0; layer < o_.n_layer; ++layer) add_layer(layer);
    norm("model.norm", -1);
    if (!o_.tie_word_embeddings) {
      builder_.matrix("lm_head.weight", ParameterRole::lm_head, -1, o_.sizes.vocab_size, o_.n_embd,
                      o_.init_std);
    }
    return builder_.finish();
  }

 private:
  void add_layer(std::int64_t layer) {
    norm(prefix(layer) + "input_layernorm", layer);
    add_attention(prefix(layer) + "self_attn.", layer);
    norm(prefix(layer) + "post_attention_layernorm", layer);
    add_mlp(prefix(layer) + "mlp.", layer);
  }

  void add_attention(const std::string& p, std::int64_t layer) {
    const std::int64_t dim = o_.head_width();
    const Heads queries{o_.n_head, dim, Heads::Axis::rows, 1};
    const Heads keys{o_.kv_heads(), dim, Heads::Axis::rows, o_.n_head / o_.kv_heads()};
    weight(p + "q_proj", ParameterRole::query, layer, o_.n_head * dim, o_.n_embd).heads = queries;
    weight(p + "k_proj", ParameterRole::key, layer, keys.count * dim, o_.n_embd).heads = keys;
    weight(p + "v_proj", ParameterRole::value, layer, keys.count * dim, o_.n_embd).heads = keys;
    auto& output =
        weight(p + "o_proj", ParameterRole::attention_output, layer, o_.n_embd, o_.n_head * dim);
    output.heads = {o_.n_head, dim, Heads::Axis::columns, 1};
    output.initialization.scale = residual_std_;
  }

  void add_mlp(const std::string& p, std::int64_t layer) {
    weight(p + "gate_proj", ParameterRole::mlp_gate, layer, o_.mlp_width(), o_.n_embd);
    weight(p + "up_proj", ParameterRole::mlp_in, layer, o_.mlp_width(), o_.n_embd);
    weight(p + "down_proj", ParameterRole::mlp_out, layer, o_.n_embd, o_.mlp_width())
        .initialization.scale = residual_std_;
  }

  ParameterBlock& weight(const std::string& name, ParameterRole role, std::int64_t layer,
                         std::int64_t out, std::int64_t in) {
    return builder_.matrix(name + ".weight", role, layer, out, in, o_.init_std);
  }

  void norm(const std::string& name, std::int64_t layer) {
    builder_.vector(name + ".weight", ParameterRole::norm, layer, o_.n_embd,
                    Initialization::Kind::ones);
  }

  const LlamaOptions& o_;
  double residual_std_;
  LayoutBuilder builder_;
};

// ---- forward ---------------------------------------------------------------------------------

Llama::Llama(const LlamaOptions& options, const ParameterStore& store)
    : options_(options),
      rotary_(options.head_width(), options.sizes.block_size, options.rope_theta,
              store.parameters().options()) {
  const auto linear = [&](const std::string& name) {
    return Linear{store.tensor(name + ".weight"), {}};
  };
  const auto norm = [&](const std::string& name) {
    return RmsNorm{store.tensor(name + ".weight"), options.norm_eps};
  };
  token_embedding_ = store.tensor("model.embed_tokens.weight");
  for (std::int64_t i = 0; i < options.n_layer; ++i) {
    const auto p = prefix(i);
    layers_.push_back({norm(p + "input_layernorm"), norm(p + "post_attention_layernorm"),
                       linear(p + "self_attn.q_proj"), linear(p + "self_attn.k_proj"),
                       linear(p + "self_attn.v_proj"), linear(p + "self_attn.o_proj"),
                       linear(p + "mlp.gate_proj"), linear(p + "mlp.up_proj"),
                       linear(p + "mlp.down_proj")});
  }
  final_norm_ = norm("model.norm");
  head_ = linear("lm_head");
}

at::Tensor Llama::attention(const LlamaLayer& layer, const at::Tensor& x,
                            ForwardContext& context) const {
  const auto q = rotary_(split_heads(layer.q(x), options_.n_head));
  const auto k = rotary_(split_heads(layer.k(x), options_.kv_heads()));
  const auto v = split_heads(layer.v(x), options_.kv_heads());
  return layer.o(merge_heads(causal_attention(q, k, v, options_.dropout, context)));
}

at::Tensor Llama::logits(const at::Tensor& tokens, ForwardContext& context) const {
  check_sequence(tokens.size(1), options_.sizes.block_size, "llama");
  auto x = dropout(at::embedding(token_embedding_, tokens), options_.dropout, context);
  for (const auto& layer : layers_) {
    x = x + dropout(attention(layer, layer.input_norm(x), context), options_.dropout, context);
    const auto h = layer.post_attention_norm(x);
    const auto gated = at::silu(layer.gate(h)) * layer.up(h);
    x = x + dropout(layer.down(gated), options_.dropout, context);
  }
  return head_(final_norm_(x));
}

// ---- spec ------------------------------------------------------------------------------------

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
  v.real({"norm_eps", "added to the mean square in RMSNorm"}, o.norm_eps, {0.0, 1.0, true, false});
  v.boolean({"tie_word_embeddings", "head and token embedding are one tensor"},
            o.tie_word_embeddings);
  v.real({"dropout", "probability, on embeddings, attention weights and residual branches"},
         o.dropout, {0.0, 1.0, false, true});
  v.real({"init_std", "standard deviation of the initial matrices"}, o.init_std,
         {0.0, 10.0, true, false});
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
}

ParameterLayout LlamaSpec::layout() const {
  options_.sizes.require_known(family());
  return LlamaLayoutBuilder(options_).build();
}

}  // namespace

std::unique_ptr<ModelSpec> make_llama() { return std::make_unique<LlamaSpec>(); }

}  // namespace blockwise
