#include "experiments/tokenizer.hpp"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/error.hpp"
#include "core/io/json_file.hpp"
#include "experiments/python.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

class ByteTokenizer : public Tokenizer {
 public:
  std::vector<std::int64_t> encode(const std::string& text) const override {
    return {reinterpret_cast<const unsigned char*>(text.data()),
            reinterpret_cast<const unsigned char*>(text.data()) + text.size()};
  }
  std::string decode(std::int64_t token) const override {
    return token < 256 ? std::string(1, static_cast<char>(token)) : std::string();
  }
};

// Code points of a UTF-8 text that is known to be valid (JSON was).
std::vector<std::uint32_t> code_points(const std::string& text) {
  std::vector<std::uint32_t> points;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    std::uint32_t point = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (int k = 1; k < length && i + static_cast<std::size_t>(k) < text.size(); ++k) {
      point =
          (point << 6) | (static_cast<unsigned char>(text[i + static_cast<std::size_t>(k)]) & 0x3F);
    }
    points.push_back(point);
    i += static_cast<std::size_t>(length);
  }
  return points;
}

// GPT-2's byte-level alphabet: printable bytes stand for themselves, the other 68 in ascending
// order for U+0100 and the code points after it (Radford et al. 2019).
std::unordered_map<std::uint32_t, char> byte_level_alphabet() {
  std::unordered_map<std::uint32_t, char> alphabet;
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    alphabet[printable ? byte : next++] = static_cast<char>(byte);
  }
  return alphabet;
}

std::string decode_byte_level(const std::string& token) {
  static const auto alphabet = byte_level_alphabet();
  std::string bytes;
  for (const auto point : code_points(token)) {
    const auto found = alphabet.find(point);
    if (found != alphabet.end()) bytes += found->second;
  }
  return bytes;
}

// SentencePiece's way: "<0x0A>" is a byte, U+2581 a blank.
std::string decode_pieces(const std::string& token) {
  if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>') {
    unsigned byte = 0;
    std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
    return std::string(1, static_cast<char>(byte));
  }
  static const std::string kBlank = "\xE2\x96\x81";
  std::string text = token;
  for (auto at = text.find(kBlank); at != std::string::npos; at = text.find(kBlank, at + 1)) {
    text.replace(at, kBlank.size(), 1, ' ');
  }
  return text;
}

// True where a ByteLevel step is anywhere in the decoder or the pre-tokenizer.
bool is_byte_level(const nlohmann::ordered_json& step) {
  if (!step.is_object()) return false;
  if (step.value("type", "") == "ByteLevel") return true;
  for (const auto* list : {"decoders", "pretokenizers"}) {
    if (!step.contains(list)) continue;
    for (const auto& inner : step[list]) {
      if (is_byte_level(inner)) return true;
    }
  }
  return false;
}

class JsonTokenizer : public Tokenizer {
 public:
  explicit JsonTokenizer(fs::path path) : path_(std::move(path)) {
    const auto json = read_json_file(path_);
    try {
      read(json);
    } catch (const nlohmann::json::exception& error) {
      throw InputError(fmt::format("{}: no tokenizer of the library tokenizers: {}", path_.string(),
                                   error.what()));
    }
  }

  std::vector<std::int64_t> encode(const std::string& text) const override {
    const auto output = python_output({"blockwise.encode_text", path_.string(), text});
    return nlohmann::json::parse(output).get<std::vector<std::int64_t>>();
  }

  std::string decode(std::int64_t token) const override {
    const auto found = texts_.find(token);
    return found == texts_.end() ? std::string() : found->second;
  }

 private:
  void read(const nlohmann::ordered_json& json) {
    const bool byte_level =
        is_byte_level(json.at("decoder")) ||
        (json.contains("pre_tokenizer") && is_byte_level(json["pre_tokenizer"]));
    for (const auto& [token, id] : json.at("model").at("vocab").items()) {
      texts_[id.get<std::int64_t>()] = byte_level ? decode_byte_level(token) : decode_pieces(token);
    }
    if (!json.contains("added_tokens")) return;
    for (const auto& added : json["added_tokens"]) {
      texts_[added.at("id").get<std::int64_t>()] = added.at("content").get<std::string>();
    }
  }

  fs::path path_;
  std::unordered_map<std::int64_t, std::string> texts_;
};

bool manifest_says_bytes(const fs::path& folder) {
  const auto path = folder / "manifest.json";
  if (!input_exists(path)) return false;
  const auto json = read_json_file(path);
  return json.is_object() && json.value("tokenizer", "") == "byte";
}

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& folder, std::int64_t vocab_size) {
  if (input_exists(folder / "tokenizer.json")) {
    return std::make_unique<JsonTokenizer>(folder / "tokenizer.json");
  }
  require_input(manifest_says_bytes(folder) || vocab_size == 256,
                "{}: neither tokenizer.json nor the manifest.json of a byte-level corpus is there, "
                "and the model's vocabulary has {} entries, not the 256 of bytes",
                folder.empty() ? "." : folder.string(), vocab_size);
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
