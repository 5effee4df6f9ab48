// Token files: round trip, and one clear sentence per kind of damage.
#include "core/data/token_file.hpp"

#include <array>
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

std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  write(folder / "t.bin", bytes);
  return input_error([&] { TokenFile(folder / "t.bin"); });
}

// The header's i-th number replaced.
std::string with_header(std::size_t index, std::int32_t value) {
  auto bytes = good_bytes();
  std::memcpy(bytes.data() + index * sizeof(value), &value, sizeof(value));
  return bytes;
}

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
  CHECK(std::vector<std::uint16_t>(file.tokens().begin(), file.tokens().end()) ==
        std::vector<std::uint16_t>{7, 0, 65535});
  std::ifstream stream(folder / "t.bin", std::ios::binary);
  CHECK(std::string(std::istreambuf_iterator<char>(stream), {}) == good_bytes());
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

TEST_CASE("A token above the vocabulary is named with its position") {
  const TemporaryFolder folder;
  write(folder / "t.bin", good_bytes());
  const TokenFile file(folder / "t.bin");
  CHECK(input_error([&] { file.check_vocabulary(65536); }) == "no error");
  CHECK_THAT(input_error([&] { file.check_vocabulary(100); }),
             Contains("token 65535 at position 2, the vocabulary has 100"));
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
  for (const std::string broken :
       {"", "{", "[]", "null", "{\"format\":5}", R"({"format":"other"})",
        R"({"format":"blockwise-tokens","tokenizer":"byte"})",
        R"({"format":"blockwise-tokens","tokenizer":"byte","vocab_size":"256"})",
        R"({"format":"blockwise-tokens","tokenizer":3,"vocab_size":256})"}) {
    INFO(broken);
    CHECK_THAT(text(broken), Contains("manifest.json: not a manifest"));
  }
  CHECK_THAT(text(R"({"format":"blockwise-tokens","tokenizer":"byte","vocab_size":70000})"),
             Contains("vocab_size is 70000"));
}
