#include "core/models/gpt2.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/models/checkpointed_layer.hpp"
#include "core/models/key_value_cache.hpp"
#include "core/models/layers.hpp"

namespace blockwise {
namespace {

struct Gpt2Layer {
  LayerNorm norm_1, norm_2;
  Linear qkv, attention_output, mlp_in, mlp_out;
};

class Gpt2 : public Model {
 public:
  Gpt2(const Gpt2Options& options, const ParameterStore& store);
  at::Tensor features(const at::Tensor& tokens, ForwardContext& context) const override;
  const Linear& head() const override { return head_; }

 private:
  at::Tensor layer(std::size_t index, const at::Tensor& x, ForwardContext& context) const;
  at::Tensor attention(std::size_t index, const at::Tensor& x, ForwardContext& context) const;

  Gpt2Options options_;
  at::Tensor token_embedding_, position_embedding_;
  std::vector<Gpt2Layer> layers_;
  LayerNorm final_norm_;
  Linear head_;
};

std::string prefix(std::int64_t layer) { return fmt::format("transformer.h.{}.", layer); }

// ---- layout ----------------------------------------------------------------------------------

class Gpt2LayoutBuilder {
 public:
  explicit Gpt2LayoutBuilder(const Gpt2Options& options)
      : options_(options),
        residual_std_(options.init_std / std::sqrt(2.0 * static_cast<double>(options.n_layer))) {}

  ParameterLayout build() {
    auto& embedding =
        builder_.matrix("transformer.wte.weight", ParameterRole::token_embedding, -1,
                        {options_.sizes.vocab_size, options_.n_embd}, options_.init_std);
    if (options_.tie_word_embeddings) embedding.tied_names = {"lm_head.weight"};
    builder_.matrix("transformer.wpe.weight", ParameterRole::position_embedding, -1,
                    {options_.sizes.block_size, options_.n_embd}, options_.init_std);
    for (std::int64_t layer = 0; layer < options_.n_layer; ++layer) add_layer(layer);
    norm("transformer.ln_f", -1);
    if (!options_.tie_word_embeddings) {
      builder_.matrix("lm_head.weight", ParameterRole::lm_head, -1,
                      {options_.sizes.vocab_size, options_.n_embd}, options_.init_std);
    }
    return builder_.finish();
  }

 private:
  void add_layer(std::int64_t layer) {
    const auto p = prefix(layer);
    const std::int64_t width = options_.n_embd;
    const Heads heads{options_.n_head, width / options_.n_head, Heads::Axis::rows, 1};
    norm(p + "ln_1", layer);
    auto& qkv = linear(p + "attn.c_attn", ParameterRole::other, layer, 3 * width, width);
    qkv.sections = {{ParameterRole::query, width, heads},
                    {ParameterRole::key, width, heads},
                    {ParameterRole::value, width, heads}};
    auto& output = linear(p + "attn.c_proj", ParameterRole::attention_output, layer, width, width);
    output.heads = {options_.n_head, width / options_.n_head, Heads::Axis::columns, 1};
    output.initialization.scale = residual_std_;
    // These two names match none of the published package's: it takes the tensors whole.
    qkv.released = output.released = ReleasedTreatment::whole;
    norm(p + "ln_2", layer);
    linear(p + "mlp.c_fc", ParameterRole::mlp_in, layer, options_.mlp_width(), width);
    linear(p + "mlp.c_proj", ParameterRole::mlp_out, layer, width, options_.mlp_width())
        .initialization.scale = residual_std_;
  }

  Parameter& linear(const std::string& name, ParameterRole role, std::int64_t layer,
                    std::int64_t out, std::int64_t in) {
    auto& weight = builder_.matrix(name + ".weight", role, layer, {out, in}, options_.init_std);
    weight.stored_transposed = true;  // Hugging Face's Conv1D
    if (options_.bias) bias(name, layer, out);
    return weight;
  }

  void norm(const std::string& name, std::int64_t layer) {
    builder_.vector(name + ".weight", ParameterRole::norm, layer, options_.n_embd,
                    Initialization::Kind::ones);
    if (options_.bias) bias(name, layer, options_.n_embd);
  }

  void bias(const std::string& name, std::int64_t layer, std::int64_t size) {
    builder_.vector(name + ".bias", ParameterRole::bias, layer, size, Initialization::Kind::zeros);
  }

  const Gpt2Options& options_;
  double residual_std_;
  LayoutBuilder builder_;
};

// ---- forward ---------------------------------------------------------------------------------

Gpt2::Gpt2(const Gpt2Options& options, const ParameterStore& store) : options_(options) {
  const auto linear = [&](const std::string& name) {
    return Linear{store.tensor(name + ".weight"),
                  options.bias ? store.tensor(name + ".bias") : at::Tensor(),
                  linear_kind(options.linear)};
  };
  const auto norm = [&](const std::string& name) {
    const auto both = linear(name);
    return LayerNorm{both.weight, both.bias, options.norm_eps};
  };
  token_embedding_ = store.tensor("transformer.wte.weight");
  position_embedding_ = store.tensor("transformer.wpe.weight");
  for (std::int64_t i = 0; i < options.n_layer; ++i) {
    const auto p = prefix(i);
    layers_.push_back({norm(p + "ln_1"), norm(p + "ln_2"), linear(p + "attn.c_attn"),
                       linear(p + "attn.c_proj"), linear(p + "mlp.c_fc"),
                       linear(p + "mlp.c_proj")});
  }
  final_norm_ = norm("transformer.ln_f");
  head_ = {store.tensor("lm_head.weight"), {}};
}

at::Tensor Gpt2::attention(std::size_t index, const at::Tensor& x, ForwardContext& context) const {
  const auto& layer = layers_[index];
  const auto qkv = layer.qkv(x, context).chunk(3, -1);
  const auto q = split_heads(qkv[0], options_.n_head);
  auto k = split_heads(qkv[1], options_.n_head);
  auto v = split_heads(qkv[2], options_.n_head);
  if (context.cache != nullptr) std::tie(k, v) = context.cache->append(index, k, v);
  const auto mixed = causal_attention(q, k, v, {options_.dropout, 0}, context);
  return layer.attention_output(merge_heads(mixed), context);
}

at::Tensor Gpt2::layer(std::size_t index, const at::Tensor& x, ForwardContext& context) const {
  const auto& layer = layers_[index];
  const auto mixed = attention(index, layer.norm_1(x, context), context);
  const auto y = x + dropout(mixed, options_.dropout, context);
  const auto activation = options_.activation == "gelu" ? gelu : gelu_tanh;
  const auto hidden = activation(layer.mlp_in(layer.norm_2(y, context), context), context);
  return y + dropout(layer.mlp_out(hidden, context), options_.dropout, context);
}

at::Tensor Gpt2::features(const at::Tensor& tokens, ForwardContext& context) const {
  const auto length = tokens.size(1);
  const auto first = first_position(context, length, options_.sizes.block_size, "gpt2");
  auto x = at::embedding(token_embedding_, tokens) + position_embedding_.narrow(0, first, length);
  x = dropout(x, options_.dropout, context);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    x = run_layer(
        i, [this, i](const auto& y, auto& inner) { return layer(i, y, inner); }, x, context);
  }
  if (context.cache != nullptr) context.cache->advance(length);
  return final_norm_(x, context);
}

}  // namespace

// ---- spec ------------------------------------------------------------------------------------

void Gpt2Spec::visit(FieldVisitor& v) {
  auto& o = options_;
  o.sizes.visit(v);
  v.integer({"n_layer", "transformer layers"}, o.n_layer, {1, 1024});
  v.integer({"n_head", "attention heads"}, o.n_head, {1, 1024});
  v.integer({"n_embd", "width of the residual stream"}, o.n_embd, {1, 1 << 16});
  v.integer({"intermediate_size", "width of the MLP; 0 means 4 n_embd"}, o.intermediate_size,
            {0, 1 << 18});
  v.choice({"activation", "of the MLP: gelu_tanh as published, or the exact gelu"}, o.activation,
           {"gelu_tanh", "gelu"});
  v.boolean({"bias", "biases in linear layers and norms"}, o.bias);
  v.real({"norm_eps", "added to the variance in LayerNorm"}, o.norm_eps, {0.0, 1.0, true, false});
  v.boolean({"tie_word_embeddings", "head and token embedding are one tensor"},
            o.tie_word_embeddings);
  v.real({"dropout", "probability, on embeddings, attention weights and residual branches"},
         o.dropout, {0.0, 1.0, false, true});
  v.real({"init_std", "standard deviation of the initial matrices"}, o.init_std,
         {0.0, 10.0, true, false});
  visit_linear(v, o.linear);
  v.check("n_embd", o.n_embd % o.n_head == 0
                        ? ""
                        : fmt::format("{} is not a multiple of n_head {}", o.n_embd, o.n_head));
}

ParameterLayout Gpt2Spec::layout() const {
  options_.sizes.require_known(family());
  return Gpt2LayoutBuilder(options_).build();
}

std::unique_ptr<Model> Gpt2Spec::build(const ParameterStore& store) const {
  return std::make_unique<Gpt2>(options_, store);
}

std::unique_ptr<ModelSpec> make_gpt2() { return std::make_unique<Gpt2Spec>(); }

}  // namespace blockwise
