#include "core/data/token_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/error.hpp"
#include "core/data/text_recognition.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"
#include "core/io/mapped_file.hpp"

namespace blockwise {
namespace {

constexpr std::size_t kHeaderBytes = 1024;

// llm.c's two kinds of shards.
struct Flavour {
  std::int32_t magic;
  std::int32_t version;
  std::int64_t token_bytes;
};
constexpr Flavour kNarrow{20240520, 1, 2};
constexpr Flavour kWide{20240801, 7, 4};

// 2^37 tokens: more than anybody has put into one file, and read through in minutes.
constexpr std::size_t kMostBytes = std::size_t{1} << 38;

using Header = std::array<std::int32_t, 3>;

Header header_of(std::span<const std::byte> bytes) {
  Header header{};
  std::memcpy(header.data(), bytes.data(), sizeof(header));
  return header;
}

std::size_t file_bytes(const Flavour& flavour, std::int32_t tokens) {
  return kHeaderBytes + static_cast<std::size_t>(flavour.token_bytes * tokens);
}

template <typename Token>
void copy_tokens(const std::byte* tokens, std::int64_t begin, std::int64_t count,
                 std::int64_t* out) {
  const auto* first = reinterpret_cast<const Token*>(tokens) + begin;
  std::copy(first, first + count, out);
}

// Blocks, because the largest of a block is a loop that the compiler turns into vector
// instructions, and a search for the place of an offender is not.
template <typename Token>
std::int64_t first_at_or_above(const std::byte* bytes, std::int64_t count, std::int64_t bound) {
  constexpr std::int64_t kBlock = 1 << 14;
  const auto* tokens = reinterpret_cast<const Token*>(bytes);
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const auto end = std::min(count, begin + kBlock);
    Token largest = 0;
    for (auto i = begin; i < end; ++i) largest = std::max(largest, tokens[i]);
    if (largest < bound) continue;
    return std::find_if(tokens + begin, tokens + end, [&](Token t) { return t >= bound; }) - tokens;
  }
  return count;
}

void refuse_text(const std::filesystem::path& path, std::span<const std::byte> bytes,
                 std::size_t least) {
  require_input(!looks_like_text(bytes, least),
                "{0}: this is text, not a token file: `blockwise data --train {0} "
                "--validation-fraction 0.1 --output DIR` makes token files of it in DIR, of bytes, "
                "or with --tokenizer of the model's own tokens",
                path.string());
}

}  // namespace

TokenLayout token_layout(const std::string& name) {
  const auto& names = token_layout_names();
  const auto found = std::ranges::find(names, name);
  require_input(found != names.end(), "'{}' is no layout of token files", name);
  return static_cast<TokenLayout>(found - names.begin());
}

TokenFile::TokenFile(const std::filesystem::path& path, TokenLayout layout) : path_(path) {
  const auto file = map_file(path, kMostBytes);
  mapping_ = file.mapping;
  if (layout == TokenLayout::llmc) {
    read_header(file.bytes);
  } else {
    read_bare(file.bytes, layout == TokenLayout::raw_uint32 ? 4 : 2);
  }
}

void TokenFile::read_bare(std::span<const std::byte> bytes, std::int64_t width) {
  constexpr std::size_t kNotByChance = 64;
  refuse_text(path_, bytes, kNotByChance);
  width_ = width;
  size_ = static_cast<std::int64_t>(bytes.size()) / width;
  require_input(size_ * width == static_cast<std::int64_t>(bytes.size()),
                "{}: {} bytes, a bare file of {}-bit tokens has a multiple of {}", path_.string(),
                bytes.size(), 8 * width, width);
  refuse_header(bytes);
  tokens_ = bytes.data();
}

void TokenFile::read_header(std::span<const std::byte> bytes) {
  refuse_text(path_, bytes, 1);  // which no header is
  constexpr auto kHint =
      "a bare file needs `data.format: raw_uint16` (16-bit tokens, nanoGPT's) or raw_uint32";
  require_input(bytes.size() >= kHeaderBytes,
                "{}: {} bytes, a token file starts with a header of {}; {}", path_.string(),
                bytes.size(), kHeaderBytes, kHint);
  const auto [magic, version, tokens] = header_of(bytes);
  require_input(magic == kNarrow.magic || magic == kWide.magic,
                "{}: magic number {}, a token file of llm.c has {} (16-bit tokens) or {} (32-bit); "
                "{}",
                path_.string(), magic, kNarrow.magic, kWide.magic, kHint);
  const auto& flavour = magic == kWide.magic ? kWide : kNarrow;
  require_input(version == flavour.version, "{}: version {}, only {} is known for magic number {}",
                path_.string(), version, flavour.version, magic);
  require_input(tokens >= 0, "{}: the header says {} tokens", path_.string(), tokens);
  const auto expected = file_bytes(flavour, tokens);
  require_input(bytes.size() == expected,
                "{}: the header says {} tokens, so {} bytes; the file has {}", path_.string(),
                tokens, expected, bytes.size());
  tokens_ = bytes.data() + kHeaderBytes;
  size_ = tokens;
  width_ = flavour.token_bytes;
}

// Read as bare tokens, a header would be 512 tokens of nonsense at the start of a corpus. Three
// numbers and the length of the file do not agree by chance.
void TokenFile::refuse_header(std::span<const std::byte> bytes) const {
  if (bytes.size() < kHeaderBytes) return;
  const auto header = header_of(bytes);
  for (const auto& flavour : {kNarrow, kWide}) {
    const bool same = header[0] == flavour.magic && header[1] == flavour.version &&
                      header[2] >= 0 && bytes.size() == file_bytes(flavour, header[2]);
    require_input(!same,
                  "{}: has the header of an llm.c file (magic number {}), so `data.format: auto`",
                  path_.string(), header[0]);
  }
}

void TokenFile::copy(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  if (begin < 0 || count < 0 || count > size_ || begin > size_ - count) {
    throw InvariantError(fmt::format("{}: tokens {} to {} of {} were asked for", path_.string(),
                                     begin, begin + count, size_));
  }
  if (width_ == 2) return copy_tokens<std::uint16_t>(tokens_, begin, count, out);
  copy_tokens<std::uint32_t>(tokens_, begin, count, out);
}

void TokenFile::check_vocabulary(std::int64_t vocab_size) const {
  const auto at = width_ == 2 ? first_at_or_above<std::uint16_t>(tokens_, size_, vocab_size)
                              : first_at_or_above<std::uint32_t>(tokens_, size_, vocab_size);
  if (at == size_) return;
  std::int64_t token = 0;
  copy(at, 1, &token);
  throw InputError(fmt::format("{}: token {} at position {}, the vocabulary has {}", path_.string(),
                               token, at, vocab_size));
}

TokenFileWriter::TokenFileWriter(std::filesystem::path path, std::int64_t token_bytes)
    : file_(std::move(path)), width_(token_bytes) {
  check_equal(width_ == 2 || width_ == 4, true, "a token has 2 or 4 bytes");
  const std::array<std::byte, kHeaderBytes> empty{};
  file_.write(empty);
}

void TokenFileWriter::append(std::span<const std::uint16_t> tokens) {
  if (width_ != 2) return append(std::vector<std::uint32_t>(tokens.begin(), tokens.end()));
  write(std::as_bytes(tokens));
}

void TokenFileWriter::append(std::span<const std::uint32_t> tokens) {
  if (width_ == 4) return write(std::as_bytes(tokens));
  std::vector<std::uint16_t> narrow;
  for (const auto token : tokens) {
    require_input(token <= UINT16_MAX, "{}: token {} does not fit 16 bits", file_.path().string(),
                  token);
    narrow.push_back(static_cast<std::uint16_t>(token));
  }
  append(std::span<const std::uint16_t>(narrow));
}

void TokenFileWriter::write(std::span<const std::byte> bytes) {
  file_.write(bytes);
  count_ += static_cast<std::int64_t>(bytes.size()) / width_;
}

std::int64_t TokenFileWriter::finish() {
  require_input(count_ <= INT32_MAX, "{}: {} tokens, a token file holds at most {}",
                file_.path().string(), count_, INT32_MAX);
  const auto& flavour = width_ == 4 ? kWide : kNarrow;
  const Header header = {flavour.magic, flavour.version, static_cast<std::int32_t>(count_)};
  file_.write_at(0, std::as_bytes(std::span(header)));
  file_.publish();
  return count_;
}

TokenManifest read_token_manifest(const std::filesystem::path& token_file) {
  const auto path = token_file.parent_path() / "manifest.json";
  const auto document = read_json_file(path);
  const JsonView json(document, path);
  const auto format = json.at("format").text();
  require_input(format == "blockwise-tokens",
                "{}: not a manifest of token files: its format is '{}'", path.string(), format);
  return {json.at("tokenizer").text(), json.at("vocab_size").whole(1, kMaxVocabSize)};
}

}  // namespace blockwise
