// `blockwise data` and the road from text to a run.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/data/token_sequence.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

std::string sample_text() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text += fmt::format("It is a truth universally acknowledged, number {}.\n\n", i);
  }
  return text;
}

class Text {
 public:
  Text() { write_file_atomically(folder_ / "a.txt", sample_text()); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  ProgramResult prepare(const std::vector<std::string>& more,
                        const std::string& prefix = "") const {
    std::vector<std::string> arguments = {"data", "--train", path("a.txt"), "--output",
                                          path("tokens")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments, prefix);
  }
  nlohmann::json manifest() const {
    return nlohmann::json::parse(read_text_file(folder_ / "tokens/manifest.json"));
  }

 private:
  TemporaryFolder folder_;
};

std::string decoded_bytes(const TokenSequence& tokens) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(tokens.size()));
  tokens.copy(0, tokens.size(), values.data());
  return {values.begin(), values.end()};
}

// A model of the quickstart's size reads windows from all over 57 million tokens.
std::string reading_run_yaml(const std::string& folder) {
  return fmt::format(R"(name: reading
output: {0}/run
data:
  train: {0}/train_*.bin
  validation: {0}/validation.bin
  format: raw_uint16
  vocab_size: 256
  sequence_length: 128
  validation_tokens: 128
model: {{family: llama, n_layer: 2, n_head: 4, n_embd: 96}}
optimizer: {{rule: adamw, learning_rate: 1.0e-3}}
trainer: {{steps: 12, micro_batch_size: 16, evaluate_every: 0, checkpoint_every: 0, threads: 1}}
)",
                     folder);
}

// A bare file of zeros that takes no disk.
void write_zeros(const fs::path& path, std::uintmax_t tokens) {
  std::ofstream(path, std::ios::binary).close();
  fs::resize_file(path, 2 * tokens);
}

}  // namespace

TEST_CASE("Text becomes shards that the data set reads back") {
  const Text text;
  const auto result = text.prepare({"--validation-fraction", "0.25", "--shard-tokens", "1000"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("The token files are in"));
  const TokenSequence train(find_token_files(text.path("tokens/train_*.bin")), TokenLayout::llmc);
  const TokenSequence validation(find_token_files(text.path("tokens/validation_*.bin")),
                                 TokenLayout::llmc);
  CHECK(train.files().size() > 10);
  const auto whole = sample_text();
  CHECK(decoded_bytes(train) + decoded_bytes(validation) == whole);
  CHECK(train.size() == static_cast<std::int64_t>(whole.size() * 3 / 4));
  const auto manifest = read_token_manifest(text.path("tokens/train_000000.bin"));
  CHECK(manifest.tokenizer == "byte");
  CHECK(manifest.vocab_size == 256);
  CHECK(text.manifest()["files"]["validation"]["bytes"] == validation.size());
}

TEST_CASE("Several files are one text, in the order that they are named") {
  const Text text;
  write_file_atomically(text.path("b.txt"), "last");
  const auto result =
      run_program({"data", "--train", text.path("b.txt"), text.path("a.txt"), "--validation",
                   text.path("a.txt"), text.path("b.txt"), "--output", text.path("tokens")});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto read = [&](const std::string& name) {
    return decoded_bytes(TokenSequence({text.path(name)}, TokenLayout::llmc));
  };
  CHECK(read("tokens/train.bin") == "last" + sample_text());
  CHECK(read("tokens/validation.bin") == sample_text() + "last");
}

TEST_CASE("A run trains on prepared shards") {
  const Text text;
  REQUIRE(text.prepare({"--validation-tokens", "2000", "--shard-tokens", "3000", "--tokenizer",
                        "byte", "--documents", "blank-line", "--document-separator", "before"})
              .exit_code == 0);
  const auto folder = fs::path(text.path("a.txt")).parent_path();
  write_file_atomically(folder / "run.yaml", small_run_yaml(folder, 3));
  const auto result = run_program({"train", (folder / "run.yaml").string(), "--set",
                                   "data.train=" + text.path("tokens/train_*.bin"), "--set",
                                   "data.validation=" + text.path("tokens/validation_*.bin")});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK(read_run(folder / "run/run.h5").steps.size() == 3);
}

TEST_CASE("Bad input of the data verb is one line and exit code 2") {
  const Text text;
  const auto check = [&](const std::vector<std::string>& more, const std::string& message) {
    const auto result = text.prepare(more);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains(message));
    CHECK_FALSE(fs::exists(text.path("tokens")));
    return result.errors;
  };
  const auto errors = check({"--validation-fraction", "1.5"},
                            "--validation-fraction is 1.5, it must be above 0 and below 1");
  CHECK(errors.starts_with("blockwise: "));
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
  check({}, "exactly one of --validation");
  check({"--validation", text.path("missing.txt")}, "missing.txt: there is no such file");
  check({"--validation-tokens", "5", "--documents", "chapter"}, "chapter");
  check({"--validation-tokens", "5", "--format", "numpy"}, "numpy");
}

TEST_CASE("A Python that is not there is named") {
  const Text text;
  const auto result =
      text.prepare({"--validation-tokens", "5"}, "BLOCKWISE_PYTHON=/nonexistent/python");
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("the Python '/nonexistent/python' cannot be started"));
}

TEST_CASE("A search path of the user's does not hide our package") {
  const Text text;
  const auto result = text.prepare({"--validation-tokens", "5"}, "PYTHONPATH=/nonexistent");
  INFO(result.errors);
  CHECK(result.exit_code == 0);
}

TEST_CASE("The help of the data verb holds the recipes") {
  const auto help = run_program({"data", "--help"});
  CHECK(help.exit_code == 0);
  for (const auto* word : {"--document-separator", "--validation-fraction", "--shard-tokens",
                           "Example:", "nanoGPT", "llm.c", "vocab.bpe"}) {
    CHECK_THAT(help.output, Contains(word));
  }
}

TEST_CASE("Reading costs less than one percent of a step") {
  const TemporaryFolder folder;
  for (int shard = 0; shard < 6; ++shard) {
    write_zeros(folder / fmt::format("train_{}.bin", shard), 9'500'000);
  }
  write_zeros(folder / "validation.bin", 1000);
  write_file_atomically(folder / "run.yaml", reading_run_yaml(folder.path().string()));
  const auto result = run_program({"train", (folder / "run.yaml").string()});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto steps = read_run(folder / "run/run.h5").steps;
  double data = 0, all = 0;
  for (const auto& row : steps) {
    data += row.seconds_data;
    all += row.seconds;
  }
  WARN("reading took " << 100 * data / all << " % of " << all / 12 << " s per step");
  CHECK(data < 0.01 * all);
}
