#include "core/models/gpt2.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {
namespace {

// Dropout is an option of a training run, not of a checkpoint: it stays 0 unless the YAML sets it.
std::unique_ptr<ModelSpec> read_config(const JsonConfig& c) {
  c.require_text("activation_function", "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
  c.require_flag("scale_attn_weights", true, true);
  c.require_flag("scale_attn_by_inverse_layer_idx", false, false);
  c.require_flag("add_cross_attention", false, false);
  Gpt2Options o;
  o.sizes.vocab_size = c.integer("vocab_size", 50257);
  o.sizes.block_size = c.integer("n_positions", c.integer("n_ctx", 1024));
  o.n_layer = c.integer("n_layer", 12);
  o.n_head = c.integer("n_head", 12);
  o.n_embd = c.integer("n_embd", 768);
  o.intermediate_size = c.integer("n_inner", 0);
  o.norm_eps = c.real("layer_norm_epsilon", 1e-5);
  o.tie_word_embeddings = c.boolean("tie_word_embeddings", true);
  o.init_std = c.real("initializer_range", 0.02);
  return std::make_unique<Gpt2Spec>(o);
}

nlohmann::ordered_json write_config(const ModelSpec& spec) {
  const auto& o = dynamic_cast<const Gpt2Spec&>(spec).options();
  nlohmann::ordered_json config = {{"architectures", {"GPT2LMHeadModel"}},
                                   {"model_type", "gpt2"},
                                   {"activation_function", "gelu_new"},
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
                                   {"attn_pdrop", o.dropout},
                                   {"bos_token_id", nullptr},
                                   {"eos_token_id", nullptr}};
  if (o.intermediate_size != 0) config["n_inner"] = o.intermediate_size;
  return config;
}

}  // namespace

HuggingFaceFormat hugging_face_gpt2() {
  return {"gpt2", {"gpt2"}, read_config, write_config, {".attn.bias", ".attn.masked_bias"}, true};
}

}  // namespace blockwise
