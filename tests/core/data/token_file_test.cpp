// Token files: round trip, and one clear sentence per kind of damage.
#include "core/data/token_file.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

std::string good_bytes() {
  std::array<std::int32_t, 256> header{20240520, 1, 3};
  const std::array<std::uint16_t, 3> tokens{7, 0, 65535};
  std::string bytes(reinterpret_cast<const char*>(header.data()), sizeof(header));
  return bytes.append(reinterpret_cast<const char*>(tokens.data()), sizeof(tokens));
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string error_of(const std::string& bytes, TokenLayout layout = TokenLayout::llmc) {
  const TemporaryFolder folder;
  write(folder / "t.bin", bytes);
  return input_error([&] { TokenFile(folder / "t.bin", layout); });
}

// The header's i-th number replaced.
std::string with_header(std::size_t index, std::int32_t value, std::string bytes = good_bytes()) {
  std::memcpy(bytes.data() + index * sizeof(value), &value, sizeof(value));
  return bytes;
}

// Llama 3's flavour: three tokens of 32 bits.
std::string wide_bytes() {
  std::array<std::int32_t, 256> header{20240801, 7, 3};
  const std::array<std::uint32_t, 3> tokens{7, 128255, 65536};
  std::string bytes(reinterpret_cast<const char*>(header.data()), sizeof(header));
  return bytes.append(reinterpret_cast<const char*>(tokens.data()), sizeof(tokens));
}

std::vector<std::int64_t> tokens_of(const TokenFile& file) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(file.size()));
  file.copy(0, file.size(), tokens.data());
  return tokens;
}

using Tokens = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("Tokens survive a round trip, in the published layout") {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder / "t.bin");
  const std::vector<std::uint16_t> first{7}, second{0, 65535};
  writer.append(first);
  CHECK_FALSE(std::filesystem::exists(folder / "t.bin"));  // it appears whole or not at all
  writer.append(second);
  CHECK(writer.finish() == 3);
  const TokenFile file(folder / "t.bin");
  CHECK(tokens_of(file) == Tokens{7, 0, 65535});
  CHECK(file.token_bytes() == 2);
  std::ifstream stream(folder / "t.bin", std::ios::binary);
  CHECK(std::string(std::istreambuf_iterator<char>(stream), {}) == good_bytes());
}

TEST_CASE("Tokens of 32 bits survive a round trip, in the published layout") {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder / "t.bin", 4);
  writer.append(std::vector<std::uint16_t>{7});  // narrow ones widen
  writer.append(std::vector<std::uint32_t>{128255, 65536});
  CHECK(writer.finish() == 3);
  const TokenFile file(folder / "t.bin");
  CHECK(tokens_of(file) == Tokens{7, 128255, 65536});
  CHECK(file.token_bytes() == 4);
  std::ifstream stream(folder / "t.bin", std::ios::binary);
  CHECK(std::string(std::istreambuf_iterator<char>(stream), {}) == wide_bytes());
}

TEST_CASE("A token that is too wide for its file is refused") {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder / "t.bin");
  writer.append(std::vector<std::uint32_t>{65535});
  CHECK_THAT(input_error([&] { writer.append(std::vector<std::uint32_t>{65536}); }),
             Contains("t.bin: token 65536 does not fit 16 bits"));
}

TEST_CASE("A bare file is read where it is asked for, and only there") {
  const TemporaryFolder folder;
  // nanoGPT's: no header, 16 bits. Long enough to be taken for one with a header.
  std::vector<std::uint16_t> tokens(2000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(i * 30);
  const std::string bytes(reinterpret_cast<const char*>(tokens.data()), 2 * tokens.size());
  write(folder / "t.bin", bytes);
  const TokenFile file(folder / "t.bin", TokenLayout::raw_uint16);
  CHECK(tokens_of(file) == Tokens(tokens.begin(), tokens.end()));
  CHECK_THAT(error_of(bytes), Contains("magic number 1966080") && Contains("20240520") &&
                                  Contains("20240801") && Contains("format: raw_uint16"));
  CHECK_THAT(error_of(bytes.substr(0, 600)),
             Contains("600 bytes") && Contains("format: raw_uint16"));
  CHECK_THAT(error_of(bytes.substr(0, 601), TokenLayout::raw_uint16),
             Contains("t.bin: 601 bytes") && Contains("a multiple of 2"));
  CHECK(error_of("", TokenLayout::raw_uint16) == "no error");
}

TEST_CASE("A bare file of 32-bit tokens is read where it is asked for") {
  const TemporaryFolder folder;
  const std::vector<std::uint32_t> tokens = {7, 128255, 0, 65536};
  const std::string bytes(reinterpret_cast<const char*>(tokens.data()), 4 * tokens.size());
  write(folder / "t.bin", bytes);
  const TokenFile file(folder / "t.bin", TokenLayout::raw_uint32);
  CHECK(file.token_bytes() == 4);
  CHECK(tokens_of(file) == Tokens(tokens.begin(), tokens.end()));
  CHECK_THAT(input_error([&] { file.check_vocabulary(1000); }), Contains("token 128255"));
  CHECK_THAT(error_of(bytes + "xx", TokenLayout::raw_uint32),
             Contains("t.bin: 18 bytes") && Contains("a multiple of 4"));
  CHECK_THAT(error_of(wide_bytes(), TokenLayout::raw_uint32), Contains("20240801"));
  CHECK(token_layout("raw_uint32") == TokenLayout::raw_uint32);
  CHECK(token_layout("raw_uint16") == TokenLayout::raw_uint16);
  CHECK(token_layout("auto") == TokenLayout::llmc);
}

TEST_CASE("Text is named as such, with the command that makes tokens of it") {
  const std::string english =
      "It is a truth universally acknowledged, that a single man in possession\r\n\tof";
  const std::string greek = "\xce\xbc\xe1\xbf\x86\xce\xbd\xce\xb9\xce\xbd \xf0\x9f\x8f\x9b";
  const auto layout = GENERATE(TokenLayout::llmc, TokenLayout::raw_uint16, TokenLayout::raw_uint32);
  for (const auto& text :
       {english + english, greek + greek + greek + greek + greek, "{\"text\": 1}" + english}) {
    std::string many;
    while (many.size() < 6000) many += text;
    // 4096 is where a look ends, perhaps within a character.
    for (const auto size : {text.size(), text.size() - 1, many.size(), many.size() - 3}) {
      const auto error = error_of(many.substr(0, size), layout);
      CHECK_THAT(error,
                 Contains("t.bin: this is text, not a token file: `blockwise data --train") &&
                     Contains("--output DIR`"));
      CHECK(std::count(error.begin(), error.end(), '\n') == 0);
    }
  }
  CHECK_THAT(error_of("a"), Contains("this is text"));
}

TEST_CASE("Tokens are not taken for text") {
  const auto bare = TokenLayout::raw_uint16;
  const std::string bytes_as_tokens("I\0t\0 \0i\0s\0 \0", 12);
  std::string many;
  while (many.size() < 200) many += bytes_as_tokens;
  CHECK(error_of(many, bare) == "no error");
  CHECK(error_of("abcd", bare) == "no error");                               // two tokens
  CHECK(error_of(std::string(100, '\x80'), bare) == "no error");             // nothing begins so
  CHECK(error_of(std::string(99, 'a').append("\xff"), bare) == "no error");  // no UTF-8
  CHECK(error_of(std::string(98, 'a').append("\xc3"
                                             "a"),
                 bare) == "no error");  // a cut character
  CHECK(error_of(std::string(99, 'a').append("\x7f"), bare) == "no error");
}

TEST_CASE("A file with a header is not read as bare tokens") {
  CHECK_THAT(error_of(good_bytes(), TokenLayout::raw_uint16),
             Contains("t.bin: has the header of an llm.c file (magic number 20240520)"));
  CHECK_THAT(error_of(wide_bytes(), TokenLayout::raw_uint16), Contains("20240801"));
  // Not a header: the length does not agree.
  CHECK(error_of(good_bytes() + "xx", TokenLayout::raw_uint16) == "no error");
}

TEST_CASE("A range outside of the file is a defect") {
  const TemporaryFolder folder;
  write(folder / "t.bin", good_bytes());
  const TokenFile file(folder / "t.bin");
  std::array<std::int64_t, 4> out{};
  file.copy(1, 2, out.data());
  CHECK(out[0] == 0);
  CHECK(out[1] == 65535);
  CHECK_THROWS_AS(file.copy(1, 3, out.data()), InvariantError);
  CHECK_THROWS_AS(file.copy(-1, 1, out.data()), InvariantError);
}

TEST_CASE("A writer that is not finished leaves nothing") {
  const TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "t.bin");
    writer.append(std::vector<std::uint16_t>{1, 2});
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("A writer without a folder says so") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(TokenFileWriter(folder / "missing/t.bin"), Contains("cannot be written"));
}

TEST_CASE("Each damage of a token file is named") {
  CHECK(error_of(good_bytes()) == "no error");
  CHECK_THAT(error_of(with_header(0, 20240519)), Contains("magic number 20240519"));
  CHECK_THAT(error_of(with_header(1, 2)), Contains("version 2, only 1"));
  CHECK_THAT(error_of(with_header(2, 4)),
             Contains("says 4 tokens, so 1032 bytes; the file has 1030"));
  CHECK_THAT(error_of(with_header(2, -3)), Contains("says -3 tokens"));
  CHECK_THAT(error_of(good_bytes().substr(0, 1029)), Contains("the file has 1029"));
  CHECK_THAT(error_of(good_bytes() + "x"), Contains("the file has 1031"));
  CHECK_THAT(error_of(good_bytes().substr(0, 500)), Contains("500 bytes"));
  CHECK_THAT(error_of(""), Contains("0 bytes"));
  CHECK_THAT(input_error([] { TokenFile("/nonexistent/t.bin"); }), Contains("/nonexistent/t.bin"));
  CHECK_THAT(error_of(with_header(0, 1)), Contains("t.bin"));
}

TEST_CASE("Each damage of a file with 32-bit tokens is named") {
  CHECK(error_of(wide_bytes()) == "no error");
  CHECK_THAT(error_of(with_header(1, 1, wide_bytes())),
             Contains("version 1, only 7 is known for magic number 20240801"));
  CHECK_THAT(error_of(with_header(2, 4, wide_bytes())),
             Contains("says 4 tokens, so 1040 bytes; the file has 1036"));
  CHECK_THAT(error_of(wide_bytes().substr(0, 1033)), Contains("the file has 1033"));
}

TEST_CASE("A token above the vocabulary is named with its position") {
  const TemporaryFolder folder;
  write(folder / "t.bin", good_bytes());
  const TokenFile file(folder / "t.bin");
  CHECK(input_error([&] { file.check_vocabulary(65536); }) == "no error");
  CHECK_THAT(input_error([&] { file.check_vocabulary(100); }),
             Contains("token 65535 at position 2, the vocabulary has 100"));
  write(folder / "wide.bin", wide_bytes());
  const TokenFile wide(folder / "wide.bin");
  CHECK(input_error([&] { wide.check_vocabulary(128256); }) == "no error");
  CHECK_THAT(input_error([&] { wide.check_vocabulary(128255); }),
             Contains("token 128255 at position 1, the vocabulary has 128255"));
}

TEST_CASE("The vocabulary of 57 million tokens is checked at the speed of memory") {
  constexpr std::int64_t kTokens = 57'000'000;
  const TemporaryFolder folder;
  write(folder / "t.bin", "");
  std::filesystem::resize_file(folder / "t.bin", 2 * kTokens);  // zeros that take no disk
  {
    std::fstream stream(folder / "t.bin", std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(2 * (kTokens - 1));
    stream.write("\x50\xc3", 2);  // 50000
  }
  const TokenFile file(folder / "t.bin", TokenLayout::raw_uint16);
  CHECK(file.size() == kTokens);
  const auto start = std::chrono::steady_clock::now();
  CHECK(input_error([&] { file.check_vocabulary(50257); }) == "no error");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  WARN("57 M tokens checked in " << seconds.count() << " s");
  // 114 MB: tens of milliseconds on an idle machine; the bound is for a loaded one and sanitizers.
  CHECK(seconds.count() < 2.0);
  CHECK_THAT(input_error([&] { file.check_vocabulary(50000); }),
             Contains("token 50000 at position 56999999"));
}

TEST_CASE("A manifest that is none is refused") {
  const TemporaryFolder folder;
  const auto text = [&](const std::string& json) {
    write(folder / "manifest.json", json);
    return input_error([&] { read_token_manifest(folder / "train.bin"); });
  };
  const std::string good =
      R"({"format":"blockwise-tokens","version":1,"tokenizer":"byte","vocab_size":256})";
  CHECK(text(good) == "no error");
  CHECK(read_token_manifest(folder / "train.bin").vocab_size == 256);
  const std::vector<std::pair<std::string, std::string>> broken = {
      {"", ":1:1: not JSON: the file is empty"},
      {"{", ":1:2: not JSON"},
      {"[]", ": the file is a list, no object with keys"},
      {"null", ": the file is null, no object with keys"},
      {"{\"format\":5}", ": 'format' is 5, no text"},
      {R"({"format":"other"})", ": not a manifest of token files: its format is 'other'"},
      {R"({"format":"blockwise-tokens","tokenizer":"byte"})", ": 'vocab_size' is missing"},
      {R"({"format":"blockwise-tokens","tokenizer":"byte","vocab_size":"256"})",
       ": 'vocab_size' is \"256\", no whole number"},
      {R"({"format":"blockwise-tokens","tokenizer":3,"vocab_size":256})",
       ": 'tokenizer' is 3, no text"}};
  for (const auto& [json, why] : broken) {
    INFO(json);
    CHECK_THAT(text(json), Contains("manifest.json" + why));
  }
  CHECK(text(R"({"format":"blockwise-tokens","tokenizer":"byte","vocab_size":70000})") ==
        "no error");
  CHECK_THAT(text(R"({"format":"blockwise-tokens","tokenizer":"byte","vocab_size":1048577})"),
             Contains("'vocab_size' is 1048577, allowed are 1 to 1048576"));
}
