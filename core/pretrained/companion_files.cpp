#include "core/pretrained/companion_files.hpp"

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIdsFile = "special_tokens.json";
constexpr const char* kGenerationFile = "generation_config.json";

nlohmann::ordered_json id_value(const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids.front();
  return ids;
}

}  // namespace

const std::vector<std::string>& companion_file_names() {
  static const std::vector<std::string> names = {"tokenizer.json",
                                                 "tokenizer_config.json",
                                                 "tokenizer.model",
                                                 "spiece.model",
                                                 "special_tokens_map.json",
                                                 "added_tokens.json",
                                                 "vocab.json",
                                                 "vocab.txt",
                                                 "merges.txt",
                                                 "chat_template.jinja",
                                                 "chat_template.json",
                                                 kGenerationFile};
  return names;
}

SpecialTokens read_special_tokens(const JsonConfig& config, const SpecialTokens& otherwise) {
  const auto read = [&](const char* key, const std::vector<std::int64_t>& missing) {
    return config.contains(key) ? config.token_ids(key) : missing;
  };
  return {read("bos_token_id", otherwise.begin), read("eos_token_id", otherwise.end),
          read("pad_token_id", otherwise.padding)};
}

void write_special_tokens(const SpecialTokens& tokens, nlohmann::ordered_json& config) {
  config["bos_token_id"] = id_value(tokens.begin);
  config["eos_token_id"] = id_value(tokens.end);
  config["pad_token_id"] = id_value(tokens.padding);
}

std::vector<std::int64_t> end_of_text(const Companions& companions) {
  const auto path = companions.folder / kGenerationFile;
  if (companions.folder.empty() || !input_exists(path)) return companions.tokens.end;
  const auto ids = JsonConfig::load(path).token_ids("eos_token_id");
  return ids.empty() ? companions.tokens.end : ids;
}

void copy_companion_files(const fs::path& from, const fs::path& to) {
  for (const auto& name : companion_file_names()) {
    if (!input_exists(from / name)) continue;
    const InputFile regular(from / name);
    fs::remove(to / name);  // a copy of a read-only file is one, too
    fs::copy_file(from / name, to / name);
    fs::permissions(to / name, fs::perms::owner_write, fs::perm_options::add);
    sync_path(to / name);
  }
}

void write_companions(const Companions& companions, const fs::path& folder) {
  fs::create_directories(folder);
  if (!companions.folder.empty()) copy_companion_files(companions.folder, folder);
  nlohmann::ordered_json ids;
  write_special_tokens(companions.tokens, ids);
  write_file_atomically(folder / kIdsFile, ids.dump(2) + "\n");
}

std::optional<Companions> read_companions(const fs::path& folder) {
  if (!input_exists(folder / kIdsFile)) return std::nullopt;
  return Companions{folder, read_special_tokens(JsonConfig::load(folder / kIdsFile), {})};
}

}  // namespace blockwise
