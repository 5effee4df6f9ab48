#include "core/error.hpp"
#include "core/models/llama.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {
namespace {

// transformers 5 has everything in `rope_parameters`; 4 has `rope_theta` beside an optional
// `rope_scaling` (whose kind older files call `type`).
void read_rotary(const JsonConfig& c, LlamaOptions& o) {
  const bool new_style = c.has("rope_parameters");
  const std::string name = new_style ? "rope_parameters" : "rope_scaling";
  o.rope_theta = c.real("rope_theta", 10000.0);
  if (!c.has(name)) return;
  const auto rope = c.section(name);
  o.rope_theta = rope.real("rope_theta", o.rope_theta);
  const std::string key = rope.has("rope_type") || !rope.has("type") ? "rope_type" : "type";
  rope.require_text(key, "default", {"default", "linear", "llama3"});
  const auto kind = rope.text(key, "default");
  if (kind == "default") return;
  auto& s = o.rope_scaling;
  s.kind = kind;
  s.factor = rope.real("factor", 1.0);
  if (kind == "linear") return;
  s.low_frequency_factor = rope.real("low_freq_factor", 1.0);
  s.high_frequency_factor = rope.real("high_freq_factor", 4.0);
  s.original_positions = rope.integer("original_max_position_embeddings");
}

void read_sizes(const JsonConfig& c, LlamaOptions& o) {
  o.sizes.vocab_size = c.integer("vocab_size");
  o.sizes.block_size = c.integer("max_position_embeddings");
  o.n_layer = c.integer("num_hidden_layers");
  o.n_head = c.integer("num_attention_heads");
  o.n_kv_head = c.integer("num_key_value_heads", o.n_head);
  o.n_embd = c.integer("hidden_size");
  o.head_dim = c.integer("head_dim", 0);
  o.intermediate_size = c.integer("intermediate_size");
  o.norm_eps = c.real("rms_norm_eps", 1e-6);
  o.tie_word_embeddings = c.boolean("tie_word_embeddings", false);
  o.init_std = c.real("initializer_range", 0.02);
}

// Where the four architectures differ.
void read_architecture(const JsonConfig& c, LlamaOptions& o) {
  const auto type = c.text("model_type");
  if (type == "llama" || type == "qwen3") {
    o.qkv_bias = o.output_bias = c.boolean("attention_bias", false);
  }
  if (type == "llama") c.require_flag("mlp_bias", false, false);
  if (type == "mistral") o.sliding_window = c.integer("sliding_window", 0);
  if (type == "qwen2") o.qkv_bias = true;
  if (type == "qwen3") o.qk_norm = true;
  if (type == "qwen3" && o.head_dim == 0) o.head_dim = 128;
  if (type == "qwen2" || type == "qwen3") c.require_flag("use_sliding_window", false, false);
}

std::unique_ptr<ModelSpec> read_config(const JsonConfig& c) {
  c.require_text("hidden_act", "silu", {"silu"});
  LlamaOptions o;
  read_sizes(c, o);
  read_rotary(c, o);
  read_architecture(c, o);
  return std::make_unique<LlamaSpec>(o);
}

struct Architecture {
  std::string type, name;
};

// The one of transformers that has exactly these options.
Architecture architecture_of(const LlamaOptions& o) {
  const bool window = o.sliding_window > 0;
  if (o.qk_norm && !window && o.qkv_bias == o.output_bias) return {"qwen3", "Qwen3ForCausalLM"};
  if (!o.qk_norm && o.qkv_bias && !o.output_bias && !window) return {"qwen2", "Qwen2ForCausalLM"};
  if (!o.qk_norm && window && !o.qkv_bias && !o.output_bias) {
    return {"mistral", "MistralForCausalLM"};
  }
  if (!o.qk_norm && !window && o.qkv_bias == o.output_bias) return {"llama", "LlamaForCausalLM"};
  throw InputError(fmt::format(
      "no Hugging Face architecture has qk_norm {}, qkv_bias {}, output_bias {} and sliding_window "
      "{} together",
      o.qk_norm, o.qkv_bias, o.output_bias, o.sliding_window));
}

nlohmann::ordered_json rope_parameters(const LlamaOptions& o) {
  const auto& s = o.rope_scaling;
  nlohmann::ordered_json rope = {{"rope_type", s.kind == "none" ? "default" : s.kind}};
  if (s.kind != "none") rope["factor"] = s.factor;
  if (s.kind == "llama3") {
    rope["low_freq_factor"] = s.low_frequency_factor;
    rope["high_freq_factor"] = s.high_frequency_factor;
    rope["original_max_position_embeddings"] = s.original_positions;
  }
  return rope;
}

// The rotary options twice, once where transformers 4 looks for them and once where 5 does.
void write_rotary(const LlamaOptions& o, nlohmann::ordered_json& config) {
  auto rope = rope_parameters(o);
  config["rope_theta"] = o.rope_theta;
  config["rope_scaling"] = nullptr;
  if (o.rope_scaling.kind != "none") config["rope_scaling"] = rope;
  rope["rope_theta"] = o.rope_theta;
  config["rope_parameters"] = rope;
}

nlohmann::ordered_json write_config(const ModelSpec& spec) {
  const auto& o = dynamic_cast<const LlamaSpec&>(spec).options();
  const auto architecture = architecture_of(o);
  nlohmann::ordered_json config = {{"architectures", {architecture.name}},
                                   {"model_type", architecture.type},
                                   {"hidden_act", "silu"},
                                   {"vocab_size", o.sizes.vocab_size},
                                   {"max_position_embeddings", o.sizes.block_size},
                                   {"num_hidden_layers", o.n_layer},
                                   {"num_attention_heads", o.n_head},
                                   {"num_key_value_heads", o.kv_heads()},
                                   {"hidden_size", o.n_embd},
                                   {"head_dim", o.head_width()},
                                   {"intermediate_size", o.mlp_width()},
                                   {"rms_norm_eps", o.norm_eps},
                                   {"tie_word_embeddings", o.tie_word_embeddings},
                                   {"initializer_range", o.init_std},
                                   {"attention_dropout", 0.0},
                                   {"bos_token_id", nullptr},
                                   {"eos_token_id", nullptr}};
  write_rotary(o, config);
  if (architecture.type == "llama") config["mlp_bias"] = false;
  if (architecture.type != "qwen2") config["attention_bias"] = o.output_bias;
  if (architecture.type == "mistral") config["sliding_window"] = o.sliding_window;
  if (architecture.type.starts_with("qwen")) config["use_sliding_window"] = false;
  return config;
}

}  // namespace

HuggingFaceFormat hugging_face_llama() {
  return {"llama",
          {"llama", "mistral", "qwen2", "qwen3"},
          read_config,
          write_config,
          {".rotary_emb.inv_freq"},
          false};
}

}  // namespace blockwise
