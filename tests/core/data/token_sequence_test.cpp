// Shards as one long sequence: found, ordered and cut as if they were one file.
#include "core/data/token_sequence.hpp"

#include <numeric>

#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

// Consecutive integers, so that every position that is read can be proven.
void write_counting(const fs::path& path, std::uint32_t first, std::uint32_t count,
                    std::int64_t token_bytes = 2) {
  std::vector<std::uint32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  TokenFileWriter writer(path, token_bytes);
  writer.append(tokens);
  writer.finish();
}

std::vector<std::string> names(const std::vector<fs::path>& paths) {
  std::vector<std::string> result;
  for (const auto& path : paths) result.push_back(path.filename().string());
  return result;
}

using Names = std::vector<std::string>;

// The shards hold tokens 0, 1, 2, ...: a window's first token is its position.
void check_counts_up(const TokenSequence& tokens, std::int64_t begin, std::int64_t count) {
  std::vector<std::int64_t> window(static_cast<std::size_t>(count)), expected(window.size());
  std::iota(expected.begin(), expected.end(), begin);
  tokens.copy(begin, count, window.data());
  INFO("window of " << count << " at " << begin);
  CHECK(window == expected);
}

}  // namespace

TEST_CASE("Every window of a sequence of shards is the one of the whole") {
  const TemporaryFolder folder;
  write_counting(folder / "a.bin", 0, 7);
  write_counting(folder / "b.bin", 7, 0);  // an empty shard is no obstacle
  write_counting(folder / "c.bin", 7, 1, 4);
  write_counting(folder / "d.bin", 8, 12, 4);
  write_counting(folder / "e.bin", 20, 0);
  const TokenSequence tokens(find_token_files(folder.path()), TokenLayout::llmc);
  REQUIRE(tokens.size() == 20);
  for (std::int64_t begin = 0; begin <= 20; ++begin) {
    for (std::int64_t count = 0; begin + count <= 20; ++count) {
      check_counts_up(tokens, begin, count);
    }
  }
  std::int64_t out = 0;
  CHECK_THROWS_AS(tokens.copy(20, 1, &out), InvariantError);
  CHECK_THROWS_AS(tokens.copy(-1, 1, &out), InvariantError);
}

TEST_CASE("Shards are found by file, folder or pattern, in the order of their names") {
  const TemporaryFolder folder;
  for (const auto* name : {"train_000010.bin", "train_000002.bin", "train_000001.bin",
                           "validation.bin", "B.bin", "notes.txt"}) {
    write_counting(folder / name, 0, 3);
  }
  fs::create_directory(folder / "sub.bin");
  const auto at = [&](const std::string& name) { return names(find_token_files(folder / name)); };
  CHECK(at("validation.bin") == Names{"validation.bin"});
  CHECK(at("train_*.bin") == Names{"train_000001.bin", "train_000002.bin", "train_000010.bin"});
  CHECK(at("*_00000[12].bin") == Names{"train_000001.bin", "train_000002.bin"});
  CHECK(names(find_token_files(folder.path())) == Names{"B.bin", "train_000001.bin",
                                                        "train_000002.bin", "train_000010.bin",
                                                        "validation.bin"});
}

TEST_CASE("A place without token files is named") {
  const TemporaryFolder folder;
  CHECK_THAT(input_error([&] { find_token_files(folder.path()); }),
             Contains(folder.path().string()) && Contains("no *.bin file"));
  CHECK_THAT(input_error([&] { find_token_files(folder / "train*.bin"); }),
             Contains("train*.bin: no file matches this pattern"));
}

TEST_CASE("A file with a star in its name is a file") {
  const TemporaryFolder folder;
  write_counting(folder / "a*.bin", 0, 3);
  write_counting(folder / "ab.bin", 0, 3);
  CHECK(names(find_token_files(folder / "a*.bin")) == Names{"a*.bin"});
}

TEST_CASE("A damaged shard is named, and so is a token above the vocabulary") {
  const TemporaryFolder folder;
  write_counting(folder / "a.bin", 0, 10);
  write_counting(folder / "b.bin", 10, 10);
  const TokenSequence tokens(find_token_files(folder.path()), TokenLayout::llmc);
  CHECK(input_error([&] { tokens.check_vocabulary(20); }) == "no error");
  CHECK_THAT(input_error([&] { tokens.check_vocabulary(15); }),
             Contains("b.bin: token 15 at position 5, the vocabulary has 15"));
  fs::resize_file(folder / "b.bin", 1030);
  CHECK_THAT(
      input_error([&] { TokenSequence(find_token_files(folder.path()), TokenLayout::llmc); }),
      Contains("b.bin: the header says 10 tokens"));
}
