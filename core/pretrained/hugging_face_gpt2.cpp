#include <array>

#include "core/base/error.hpp"
#include "core/models/gpt2.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {
namespace {

struct Activation {
  const char* name;
  const char* option;
};
// transformers has several names for the two forms; the first of each is what is written.
constexpr std::array kActivations = {Activation{"gelu_new", "gelu_tanh"},
                                     Activation{"gelu", "gelu"},
                                     Activation{"gelu_pytorch_tanh", "gelu_tanh"},
                                     Activation{"gelu_python_tanh", "gelu_tanh"},
                                     Activation{"gelu_fast", "gelu_tanh"},
                                     Activation{"gelu_accurate", "gelu_tanh"},
                                     Activation{"gelu_python", "gelu"}};

std::string activation_of(const JsonConfig& c) {
  const auto name = c.text("activation_function", "gelu_new");
  std::vector<std::string> known;
  for (const auto& activation : kActivations) {
    if (name == activation.name) return activation.option;
    known.push_back(activation.name);
  }
  c.fail("activation_function",
         fmt::format("is '{}', supported: {}", name, fmt::join(known, ", ")));
}

std::string activation_name(const std::string& option) {
  for (const auto& activation : kActivations) {
    if (option == activation.option) return activation.name;
  }
  throw InputError(fmt::format("no Hugging Face architecture has activation {}", option));
}

// transformers takes other families' names of these sizes, too.
std::int64_t size(const JsonConfig& c, const std::string& key, const std::string& alias,
                  std::int64_t otherwise) {
  const auto value = c.positive(key, otherwise);
  if (!c.contains(alias)) return value;
  const auto by_alias = c.positive(alias);
  if (c.contains(key) && by_alias != value) {
    c.fail(alias, fmt::format("is {}, but '{}' is {}", by_alias, key, value));
  }
  return by_alias;
}

// Dropout is an option of a training run, not of a checkpoint: it stays 0 unless the YAML sets it.
std::unique_ptr<ModelSpec> read_config(const JsonConfig& c) {
  c.require_flag("scale_attn_weights", true, true);
  c.require_flag("scale_attn_by_inverse_layer_idx", false, false);
  Gpt2Options o;
  o.activation = activation_of(c);
  o.sizes.vocab_size = c.positive("vocab_size", 50257);
  o.sizes.block_size = size(c, "n_positions", "max_position_embeddings", 1024);
  o.n_layer = size(c, "n_layer", "num_hidden_layers", 12);
  o.n_head = size(c, "n_head", "num_attention_heads", 12);
  o.n_embd = size(c, "n_embd", "hidden_size", 768);
  o.intermediate_size = c.has("n_inner") ? c.positive("n_inner") : 0;
  o.norm_eps = c.real("layer_norm_epsilon", 1e-5);
  o.tie_word_embeddings = c.boolean("tie_word_embeddings", true);
  o.init_std = c.real("initializer_range", 0.02);
  return std::make_unique<Gpt2Spec>(o);
}

nlohmann::ordered_json write_config(const ModelSpec& spec) {
  const auto& o = dynamic_cast<const Gpt2Spec&>(spec).options();
  nlohmann::ordered_json config = {{"architectures", {"GPT2LMHeadModel"}},
                                   {"model_type", "gpt2"},
                                   {"activation_function", activation_name(o.activation)},
                                   {"vocab_size", o.sizes.vocab_size},
                                   {"n_positions", o.sizes.block_size},
                                   {"n_layer", o.n_layer},
                                   {"n_head", o.n_head},
                                   {"n_embd", o.n_embd},
                                   {"n_inner", nullptr},
                                   {"layer_norm_epsilon", o.norm_eps},
                                   {"tie_word_embeddings", o.tie_word_embeddings},
                                   {"initializer_range", o.init_std},
                                   {"resid_pdrop", o.dropout},
                                   {"embd_pdrop", o.dropout},
                                   {"attn_pdrop", o.dropout}};
  if (o.intermediate_size != 0) config["n_inner"] = o.intermediate_size;
  return config;
}

SpecialTokens default_tokens(const std::string&) { return {{50256}, {50256}, {}}; }

}  // namespace

std::unique_ptr<HuggingFaceFormat> hugging_face_gpt2() {
  auto made = std::make_unique<HuggingFaceFormat>();
  auto& format = *made;
  format.model_types = {"gpt2"};
  format.read_config = read_config;
  format.write_config = write_config;
  format.default_tokens = default_tokens;
  format.keys = {{"vocab_size", "'vocab_size'"},
                 {"block_size", "'n_positions'"},
                 {"n_layer", "'n_layer'"},
                 {"n_head", "'n_head'"},
                 {"n_embd", "'n_embd'"},
                 {"intermediate_size", "'n_inner'"},
                 {"norm_eps", "'layer_norm_epsilon'"},
                 {"init_std", "'initializer_range'"}};
  // n_ctx: of 2019, the size of the saved masks.
  format.harmless_keys = {"n_ctx", "n_special", "predict_special_tokens",
                          "reorder_and_upcast_attn"};
  format.buffers = {".attn.bias", ".attn.masked_bias"};
  format.biases_always = true;
  return made;
}

}  // namespace blockwise
