#include "core/data/token_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/mapped_file.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kHeaderBytes = 1024;
constexpr std::int32_t kMagic = 20240520;
constexpr std::int32_t kVersion = 1;

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path) : path_(path) {
  const auto file = map_file(path);
  require_input(file.bytes.size() >= kHeaderBytes,
                "{}: {} bytes, a token file starts with a header of {}", path.string(),
                file.bytes.size(), kHeaderBytes);
  std::array<std::int32_t, 3> header{};
  std::memcpy(header.data(), file.bytes.data(), sizeof(header));
  require_input(header[0] == kMagic, "{}: magic number {}, a token file has {}", path.string(),
                header[0], kMagic);
  require_input(header[1] == kVersion, "{}: version {}, only {} is known", path.string(), header[1],
                kVersion);
  require_input(header[2] >= 0, "{}: the header says {} tokens", path.string(), header[2]);
  const auto expected = kHeaderBytes + 2 * static_cast<std::size_t>(header[2]);
  require_input(file.bytes.size() == expected,
                "{}: the header says {} tokens, so {} bytes; the file has {}", path.string(),
                header[2], expected, file.bytes.size());
  mapping_ = file.mapping;
  tokens_ = {reinterpret_cast<const std::uint16_t*>(file.bytes.data() + kHeaderBytes),
             static_cast<std::size_t>(header[2])};
}

void TokenFile::check_vocabulary(std::int64_t vocab_size) const {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    require_input(tokens_[i] < vocab_size, "{}: token {} at position {}, the vocabulary has {}",
                  path_.string(), tokens_[i], i, vocab_size);
  }
}

struct TokenFileWriter::File {
  std::filesystem::path partial;
  std::FILE* stream = nullptr;

  void write(const void* data, std::size_t bytes) {
    if (std::fwrite(data, 1, bytes, stream) != bytes) fail();
  }
  [[noreturn]] void fail() const {
    throw std::runtime_error(
        fmt::format("{}: cannot be written: {}", partial.string(), std::strerror(errno)));
  }
};

TokenFileWriter::TokenFileWriter(std::filesystem::path path)
    : path_(std::move(path)), file_(std::make_unique<File>()) {
  file_->partial = path_;
  file_->partial += ".partial";
  file_->stream = std::fopen(file_->partial.c_str(), "wb");
  if (file_->stream == nullptr) file_->fail();
  const std::array<char, kHeaderBytes> empty{};
  file_->write(empty.data(), empty.size());
}

TokenFileWriter::~TokenFileWriter() {
  if (file_->stream == nullptr) return;
  std::fclose(file_->stream);
  std::error_code ignored;
  std::filesystem::remove(file_->partial, ignored);
}

void TokenFileWriter::append(std::span<const std::uint16_t> tokens) {
  file_->write(tokens.data(), tokens.size_bytes());
  count_ += static_cast<std::int64_t>(tokens.size());
}

std::int64_t TokenFileWriter::finish() {
  require_input(count_ <= INT32_MAX, "{}: {} tokens, a token file holds at most {}", path_.string(),
                count_, INT32_MAX);
  const std::array<std::int32_t, 3> header = {kMagic, kVersion, static_cast<std::int32_t>(count_)};
  if (std::fseek(file_->stream, 0, SEEK_SET) != 0) file_->fail();
  file_->write(header.data(), sizeof(header));
  if (std::fflush(file_->stream) != 0 || ::fsync(::fileno(file_->stream)) != 0) file_->fail();
  std::fclose(file_->stream);
  file_->stream = nullptr;
  std::filesystem::rename(file_->partial, path_);
  return count_;
}

TokenManifest read_token_manifest(const std::filesystem::path& token_file) {
  const auto path = token_file.parent_path() / "manifest.json";
  const auto json = nlohmann::json::parse(read_text_file(path), nullptr, false);
  const bool valid = json.is_object() && json.contains("format") &&
                     json["format"] == "blockwise-tokens" && json.contains("vocab_size") &&
                     json["vocab_size"].is_number_integer() && json.contains("tokenizer") &&
                     json["tokenizer"].is_string();
  require_input(valid, "{}: not a manifest of token files", path.string());
  TokenManifest manifest{json["tokenizer"].get<std::string>(),
                         json["vocab_size"].get<std::int64_t>()};
  require_input(manifest.vocab_size >= 1 && manifest.vocab_size <= 65536,
                "{}: vocab_size is {}, allowed are 1 to 65536", path.string(), manifest.vocab_size);
  return manifest;
}

}  // namespace blockwise
