#include <algorithm>

#include "core/base/error.hpp"
#include "core/models/llama.hpp"
#include "core/pretrained/hugging_face_format.hpp"
#include "core/pretrained/hugging_face_rotary.hpp"

namespace blockwise {
namespace {

// What transformers takes where config.json is silent; the shapes of the weights have no default
// here, as no folder of any use is silent about them.
struct Defaults {
  std::int64_t positions;
  std::int64_t kv_heads;  // 0: as many as query heads
};

Defaults defaults_of(const std::string& type) {
  if (type == "llama") return {2048, 0};
  if (type == "mistral") return {131072, 8};
  return {32768, 32};  // qwen2, qwen3
}

void read_sizes(const JsonConfig& c, const Defaults& defaults, LlamaOptions& o) {
  o.sizes.vocab_size = c.positive("vocab_size");
  o.sizes.block_size = c.positive("max_position_embeddings", defaults.positions);
  o.n_layer = c.positive("num_hidden_layers");
  o.n_head = c.positive("num_attention_heads");
  o.n_kv_head = c.contains("num_key_value_heads") ? 0 : defaults.kv_heads;
  if (c.has("num_key_value_heads")) o.n_kv_head = c.positive("num_key_value_heads");
  o.n_embd = c.positive("hidden_size");
  o.head_dim = c.has("head_dim") ? c.positive("head_dim") : 0;
  o.intermediate_size = c.positive("intermediate_size");
  o.norm_eps = c.real("rms_norm_eps", 1e-6);
  o.tie_word_embeddings = c.boolean("tie_word_embeddings", false);
  o.init_std = c.real("initializer_range", 0.02);
}

// ---- windows -----------------------------------------------------------------------------------

enum class Window { none, everywhere };

std::int64_t window_size(const JsonConfig& c) {
  constexpr std::int64_t kDefault = 4096;
  if (!c.contains("sliding_window")) return kDefault;
  return c.has("sliding_window") ? c.positive("sliding_window") : 0;
}

// What a list of layer types says; the layers here are all alike.
Window window_of_layers(const JsonConfig& c, const LlamaOptions& o) {
  auto types = c.texts("layer_types");
  std::replace(types.begin(), types.end(), std::string("attention"), std::string("full_attention"));
  if (static_cast<std::int64_t>(types.size()) != o.n_layer) {
    c.fail("layer_types",
           fmt::format("has {} entries, but 'num_hidden_layers' is {}", types.size(), o.n_layer));
  }
  const auto all = [&](const char* type) {
    return std::all_of(types.begin(), types.end(), [&](const auto& t) { return t == type; });
  };
  if (all("full_attention")) return Window::none;
  if (all("sliding_attention")) return Window::everywhere;
  c.fail("layer_types", "is not the same for all layers, full_attention or sliding_attention");
}

// Qwen: the window of the layers from max_window_layers on, or of those that layer_types names.
std::int64_t qwen_window(const JsonConfig& c, const LlamaOptions& o) {
  const bool used = c.boolean("use_sliding_window", false);
  const bool named = c.has("layer_types");
  const auto size = used ? window_size(c) : 0;
  const auto full_layers = c.integer("max_window_layers", 28);
  const bool all_full = size == 0 || full_layers >= o.n_layer;
  if (!named && !all_full && full_layers > 0) {
    c.fail("max_window_layers", fmt::format("is {} of {} layers with a sliding window after them: "
                                            "all layers must be alike",
                                            full_layers, o.n_layer));
  }
  if (!named) return all_full ? 0 : size;
  if (window_of_layers(c, o) == Window::none) return 0;
  if (size == 0) c.fail("layer_types", "says sliding_attention, but no window is used");
  return size;
}

// Mistral ignores layer_types: they must say what it does. Without a window: 0.
std::int64_t mistral_window(const JsonConfig& c, const LlamaOptions& o) {
  const auto size = window_size(c);
  if (!c.has("layer_types")) return size;
  const bool windowed = window_of_layers(c, o) == Window::everywhere;
  if (windowed != (size > 0)) c.fail("layer_types", "contradicts 'sliding_window'");
  return size;
}

void refuse_windows(const JsonConfig& c, const LlamaOptions& o) {
  if (c.has("sliding_window")) c.fail("sliding_window", "is not supported for this model_type");
  if (c.has("layer_types") && window_of_layers(c, o) != Window::none) {
    c.fail("layer_types", "says sliding_attention, which this model_type does not have");
  }
}

// ---- architectures -----------------------------------------------------------------------------

// Where the four architectures differ. A bias that an architecture does not have must not be asked
// for either.
void read_architecture(const JsonConfig& c, const std::string& type, LlamaOptions& o) {
  const bool attention_bias = c.boolean("attention_bias", false);
  if (type == "llama" || type == "qwen3") o.qkv_bias = o.output_bias = attention_bias;
  if (type == "mistral") c.require_flag("attention_bias", false, false);
  if (type == "llama") o.mlp_bias = c.boolean("mlp_bias", false);
  if (type != "llama") c.require_flag("mlp_bias", false, false);
  if (type == "qwen2") o.qkv_bias = true;
  if (type == "qwen3") o.qk_norm = true;
  if (type == "qwen3" && o.head_dim == 0) o.head_dim = 128;
  if (type == "llama") refuse_windows(c, o);
  if (type == "mistral") o.sliding_window = mistral_window(c, o);
  if (type.starts_with("qwen")) o.sliding_window = qwen_window(c, o);
}

std::unique_ptr<ModelSpec> read_config(const JsonConfig& c) {
  const auto activation = c.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    c.fail("hidden_act", fmt::format("is '{}', supported: silu", activation));
  }
  const auto type = c.text("model_type");
  LlamaOptions o;
  read_sizes(c, defaults_of(type), o);
  read_rotary(c, o);
  read_architecture(c, type, o);
  return std::make_unique<LlamaSpec>(o);
}

struct Architecture {
  std::string type, name;
};

// The one of transformers that has exactly these options.
Architecture architecture_of(const LlamaOptions& o) {
  const bool window = o.sliding_window > 0;
  const bool alike = o.qkv_bias == o.output_bias;
  if (o.qk_norm && alike && !o.mlp_bias) return {"qwen3", "Qwen3ForCausalLM"};
  if (!o.qk_norm && o.qkv_bias && !o.output_bias && !o.mlp_bias) {
    return {"qwen2", "Qwen2ForCausalLM"};
  }
  if (!o.qk_norm && window && !o.qkv_bias && !o.output_bias && !o.mlp_bias) {
    return {"mistral", "MistralForCausalLM"};
  }
  if (!o.qk_norm && !window && alike) return {"llama", "LlamaForCausalLM"};
  throw InputError(fmt::format(
      "no Hugging Face architecture has qk_norm {}, qkv_bias {}, output_bias {}, mlp_bias {} and "
      "sliding_window {} together",
      o.qk_norm, o.qkv_bias, o.output_bias, o.mlp_bias, o.sliding_window));
}

void write_differences(const Architecture& architecture, const LlamaOptions& o,
                       nlohmann::ordered_json& config) {
  const auto& type = architecture.type;
  if (type == "llama") config["mlp_bias"] = o.mlp_bias;
  if (type == "llama" || type == "qwen3") config["attention_bias"] = o.output_bias;
  if (type == "mistral") config["sliding_window"] = o.sliding_window;
  if (!type.starts_with("qwen")) return;
  config["use_sliding_window"] = o.sliding_window > 0;
  if (o.sliding_window == 0) return;
  config["sliding_window"] = o.sliding_window;
  config["max_window_layers"] = 0;
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
                                   {"attention_dropout", 0.0}};
  write_rotary(o, config);
  write_differences(architecture, o, config);
  return config;
}

SpecialTokens default_tokens(const std::string& model_type) {
  if (model_type.starts_with("qwen")) return {};
  return {{1}, {2}, {}};
}

}  // namespace

std::unique_ptr<HuggingFaceFormat> hugging_face_llama() {
  auto made = std::make_unique<HuggingFaceFormat>();
  auto& format = *made;
  format.model_types = {"llama", "mistral", "qwen2", "qwen3"};
  format.read_config = read_config;
  format.write_config = write_config;
  format.default_tokens = default_tokens;
  format.keys = {{"vocab_size", "'vocab_size'"},
                 {"block_size", "'max_position_embeddings'"},
                 {"n_layer", "'num_hidden_layers'"},
                 {"n_head", "'num_attention_heads'"},
                 {"n_kv_head", "'num_key_value_heads'"},
                 {"n_embd", "'hidden_size'"},
                 {"head_dim", "'head_dim'"},
                 {"intermediate_size", "'intermediate_size'"},
                 {"sliding_window", "'sliding_window'"},
                 {"norm_eps", "'rms_norm_eps'"},
                 {"init_std", "'initializer_range'"}};
  format.keys.merge(rotary_keys());
  // A window that is not used; the last base of a rope_scaling that took its place.
  format.harmless_keys = {"sliding_window", "max_window_layers", "rope_parameters", "rope_theta",
                          "original_max_position_embeddings"};
  format.buffers = {".rotary_emb.inv_freq"};
  return made;
}

}  // namespace blockwise
