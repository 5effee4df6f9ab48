#include "experiments/text/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "experiments/text/python_session.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
// Bytes; the largest that are published have some 30 million. The Python side has the same bound.
constexpr std::size_t kLargestTokenizer = std::size_t{256} << 20;

class ByteTokenizer : public Tokenizer {
 public:
  std::vector<std::int64_t> encode(const std::string& text) override {
    characters_ = {};
    return {reinterpret_cast<const unsigned char*>(text.data()),
            reinterpret_cast<const unsigned char*>(text.data()) + text.size()};
  }
  std::string decode(std::int64_t token) override {
    return token < 256 ? characters_.feed(std::string(1, static_cast<char>(token))) : "";
  }
  std::string finish() override { return characters_.finish(); }

 private:
  Utf8Stream characters_;
};

class JsonTokenizer : public Tokenizer {
 public:
  explicit JsonTokenizer(const fs::path& path)
      : session_({"blockwise.tokens.text_session", path.string()}) {}

  std::vector<std::int64_t> encode(const std::string& text) override {
    return ask(text).get<std::vector<std::int64_t>>();
  }
  std::string decode(std::int64_t token) override { return ask(token).get<std::string>(); }
  std::string finish() override { return ask(nullptr).get<std::string>(); }

 private:
  nlohmann::json ask(const nlohmann::json& request) {
    // A prompt of the command line may be no UTF-8.
    const auto line = request.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return nlohmann::json::parse(session_.ask(line));
  }

  PythonSession session_;
};

bool manifest_says_bytes(const fs::path& folder) {
  const auto path = folder / "manifest.json";
  if (!input_exists(path)) return false;
  const auto json = read_json_file(path);
  return json.is_object() && json.contains("tokenizer") && json["tokenizer"] == "byte";
}

std::unique_ptr<Tokenizer> json_tokenizer(const fs::path& path) {
  const InputFile file(path);
  require_input(file.bytes() <= kLargestTokenizer, "{}: {} bytes, at most {} are accepted",
                path.string(), file.bytes(), kLargestTokenizer);
  return std::make_unique<JsonTokenizer>(path);
}

}  // namespace

std::unique_ptr<Tokenizer> open_named_tokenizer(const std::string& name) {
  if (name == "byte") return std::make_unique<ByteTokenizer>();
  const fs::path path = name;
  require_input(
      input_exists(path),
      "{}: there is no such tokenizer: give `byte`, a tokenizer.json or a folder with one", name);
  if (!fs::is_directory(path)) return json_tokenizer(path);
  if (input_exists(path / "tokenizer.json")) return json_tokenizer(path / "tokenizer.json");
  require_input(
      manifest_says_bytes(path),
      "{}: this folder has neither a tokenizer.json nor the manifest.json of a byte-level "
      "corpus",
      name);
  return std::make_unique<ByteTokenizer>();
}

std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& folder, std::int64_t vocab_size) {
  if (!folder.empty() && input_exists(folder / "tokenizer.json")) {
    return json_tokenizer(folder / "tokenizer.json");
  }
  require_input(!folder.empty() || vocab_size == 256,
                "the model's run read no text, so its {} tokens have no words: give --tokenizer",
                vocab_size);
  require_input(vocab_size == 256 || manifest_says_bytes(folder),
                "{}: neither tokenizer.json nor the manifest.json of a byte-level corpus is there, "
                "and the model's vocabulary has {} entries, not the 256 of bytes",
                folder.string(), vocab_size);
  return std::make_unique<ByteTokenizer>();
}

std::string Utf8Stream::feed(const std::string& bytes) {
  pending_ += bytes;
  // The start of the last character, at most three continuation bytes back.
  std::size_t start = pending_.size();
  while (start > 0 && pending_.size() - start < 4) {
    --start;
    if ((static_cast<unsigned char>(pending_[start]) & 0xC0) != 0x80) break;
  }
  if (pending_.empty()) return {};
  const auto lead = static_cast<unsigned char>(pending_[start]);
  const std::size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const bool whole = pending_.size() - start >= length;
  const auto count = whole ? pending_.size() : start;
  std::string ready = pending_.substr(0, count);
  pending_.erase(0, count);
  return ready;
}

}  // namespace blockwise
