// Hugging Face model folders: config.json and model.safetensors, or the shards that
// model.safetensors.index.json lists; GPT-2, LLaMA, Mistral, Qwen2, Qwen3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "core/model.hpp"

namespace blockwise {

// The model that config.json describes. Throws InputError naming file, key and value for an
// architecture or an option that we do not have.
std::unique_ptr<ModelSpec> read_hugging_face_config(const std::filesystem::path& folder);

// Copies the weights, float32, bfloat16 or float16, into the store. Names may have the base model's
// prefix ("transformer.", "model.") or not; tied names may be absent; buffers are ignored. Throws
// InputError naming file and tensor for a damaged file, one that is missing, one of another shape,
// and one that the model has no place for. Memory: the files are mapped, never held.
void read_hugging_face_weights(const std::filesystem::path& folder, ParameterStore& store);

struct HuggingFaceWriting {
  at::ScalarType dtype = at::kFloat;
  std::int64_t shard_bytes = 5'000'000'000;  // a file ends before the tensor that would exceed this
  // tokenizer.json and what belongs to it are copied from here; empty: nothing is.
  std::filesystem::path tokenizer_folder;
};

// Writes config.json, model.safetensors or its shards with their index, and tokenizer files. Opens
// in transformers 4 and 5 (AutoModelForCausalLM) with the same logits. Throws InputError for a
// family or options that transformers has no architecture for, and where the folder exists and is
// not empty.
void write_hugging_face(const std::filesystem::path& folder, const ModelSpec& spec,
                        const ParameterStore& store, const HuggingFaceWriting& writing);

}  // namespace blockwise
