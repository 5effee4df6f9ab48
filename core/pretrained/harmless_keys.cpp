#include <algorithm>
#include <array>
#include <string_view>

#include "core/base/error.hpp"
#include "core/pretrained/hugging_face_format.hpp"

namespace blockwise {
namespace {

constexpr std::array kHarmless = {
    // What the folder is and what wrote it.
    "architectures", "model_type", "transformers_version", "_name_or_path", "name_or_path",
    "_commit_hash", "auto_map", "tokenizer_class", "torch_dtype", "dtype", "use_bfloat16",
    "finetuning_task", "task_specific_params", "prefix", "unsloth_version", "unsloth_fixed",
    "is_llama_config", "transformers.js_config", "model_max_length", "base_model_tp_plan",
    "base_model_pp_plan",
    // How transformers runs and what it returns.
    "use_cache", "output_past", "output_attentions", "output_hidden_states", "return_dict",
    "torchscript", "tf_legacy_loss", "attn_implementation", "_attn_implementation",
    "_attn_implementation_autoset", "_flash_attn_2_enabled", "experts_implementation",
    "gradient_checkpointing", "chunk_size_feed_forward", "pretraining_tp", "is_decoder",
    "tie_encoder_decoder", "cross_attention_hidden_size", "tie_last_hidden_states",
    // Training.
    "attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout",
    "classifier_dropout", "neftune_noise_alpha",
    // Other heads than that of a language model.
    "_num_labels", "id2label", "label2id", "num_labels", "problem_type", "summary_type",
    "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
    // Sampling.
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "encoder_repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
    "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "epsilon_cutoff", "eta_cutoff", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_lookbehind",
    "target_lookbehind"};

void refuse_quantization(const JsonConfig& config) {
  for (const std::string key : {"quantization_config", "compression_config"}) {
    if (!config.has(key)) continue;
    const auto section = config.section(key);
    const auto method = section.has("quant_method") ? section.text("quant_method") : "unnamed";
    config.fail(key, fmt::format("says that the weights are quantized (method {}), which is not "
                                 "supported: save them in float32, bfloat16 or float16",
                                 method));
  }
}

}  // namespace

bool is_harmless_key(const std::string& key) {
  return std::find(kHarmless.begin(), kHarmless.end(), std::string_view(key)) != kHarmless.end();
}

void refuse_foreign_options(const JsonConfig& config) {
  refuse_quantization(config);
  config.require_nothing("per_layer_config", "gives layers options of their own: not supported");
  config.require_nothing("pruned_heads", "names heads without weights: not supported");
  for (const auto* key :
       {"is_encoder_decoder", "add_cross_attention", "rope_interleaved", "use_mrope"}) {
    config.require_flag(key, false, false);
  }
  config.require_flag("is_causal", true, true);
  const auto part =
      config.has("partial_rotary_factor") ? config.real("partial_rotary_factor") : 1.0;
  if (part != 1.0) config.fail("partial_rotary_factor", fmt::format("is {}, supported: 1", part));
}

}  // namespace blockwise
