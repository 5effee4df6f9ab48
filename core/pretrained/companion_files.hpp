// What stands beside the weights of a Hugging Face folder and goes along with the model: the
// tokenizer's files, generation_config.json, and the ids of special tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/pretrained/json_config.hpp"

namespace blockwise {

// Ids of config.json, as they stand there; a text ends at any of `end`.
struct SpecialTokens {
  std::vector<std::int64_t> begin;
  std::vector<std::int64_t> end;
  std::vector<std::int64_t> padding;
};

struct Companions {
  std::filesystem::path folder;  // of the files; empty: there are none
  SpecialTokens tokens;
};

// Names of the files that are companions, without config.json and weights.
const std::vector<std::string>& companion_file_names();

// bos_token_id, eos_token_id and pad_token_id, each one id, several or null; `otherwise` where a
// key is not there.
SpecialTokens read_special_tokens(const JsonConfig& config, const SpecialTokens& otherwise);
// Under these three keys: null, one id or a list.
void write_special_tokens(const SpecialTokens& tokens, nlohmann::ordered_json& config);

// The ids at which text of the model ends: eos_token_id of generation_config.json, else of
// `tokens`.
std::vector<std::int64_t> end_of_text(const Companions& companions);

// Copies the files that are there; what stands under their names is replaced. Throws InputError for
// one that is no regular file.
void copy_companion_files(const std::filesystem::path& from, const std::filesystem::path& to);

// The companions of a model in a folder of their own (a run keeps them so), and back; nothing where
// there is no such folder. The ids are in special_tokens.json.
void write_companions(const Companions& companions, const std::filesystem::path& folder);
std::optional<Companions> read_companions(const std::filesystem::path& folder);

}  // namespace blockwise
