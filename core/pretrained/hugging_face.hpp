// Hugging Face model folders: config.json and model.safetensors, or the shards that
// model.safetensors.index.json lists; GPT-2, LLaMA, Mistral, Qwen2, Qwen3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/pretrained/companion_files.hpp"

namespace blockwise {

struct HuggingFaceConfig {
  std::unique_ptr<ModelSpec> spec;
  Companions companions;
  // Keys of config.json that neither we nor the architecture in transformers know: ignored by both.
  std::vector<std::string> unknown_keys;
};

// The model that config.json describes, with transformers' own defaults and within the bounds that
// the family's options have in the YAML. Where the weights are there their names, shapes and dtypes
// must be the model's, so that nothing is allocated for sizes that a wrong number asks for; and a
// head that differs from the embedding unties the two, whatever config.json says, as in
// transformers. Throws InputError naming file, key and value for an architecture, an option or a
// number that we do not have.
HuggingFaceConfig read_hugging_face_config(const std::filesystem::path& folder);

// Copies the weights, float32, bfloat16 or float16, into the store. Names may have the base model's
// prefix ("transformer.", "model.") or not; tied names may be absent; buffers are ignored. Throws
// InputError naming file and tensor for a damaged file, one that is missing, one of another shape,
// one that the model has no place for, and for two that differ where the model has one. Memory: the
// files are mapped, never held.
void read_hugging_face_weights(const std::filesystem::path& folder, ParameterStore& store);

struct HuggingFaceWriting {
  at::ScalarType dtype = at::kFloat;
  std::int64_t shard_bytes = 5'000'000'000;  // a file ends before the tensor that would exceed this
  Companions companions = {};                // files that are copied, ids that config.json gets
};

// Writes config.json, model.safetensors or its shards with their index, and the companions. Opens
// in transformers 4 and 5 (AutoModelForCausalLM) with the same logits. While it is written the
// folder holds a file `export.partial`: one that was left behind by an export that died is
// replaced. Throws InputError for a family or options that transformers has no architecture for,
// and where the folder exists and holds anything else.
void write_hugging_face(const std::filesystem::path& folder, const ModelSpec& spec,
                        const ParameterStore& store, const HuggingFaceWriting& writing);

}  // namespace blockwise
