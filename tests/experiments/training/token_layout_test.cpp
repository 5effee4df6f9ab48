// The layouts of token files as a user meets them: train and eval read the same under one name, and
// what is too short is named with what it takes.
#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "core/data/token_sequence.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

// The first `count` tokens of a file of llm.c, all where it is negative, as bare numbers.
template <typename Token>
void write_bare(const fs::path& from, const fs::path& to, std::int64_t count = -1) {
  const TokenFile file(from);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(count < 0 ? file.size() : count));
  file.copy(0, std::ssize(tokens), tokens.data());
  const std::vector<Token> narrow(tokens.begin(), tokens.end());
  std::ofstream(to, std::ios::binary)
      .write(reinterpret_cast<const char*>(narrow.data()),
             static_cast<std::streamsize>(sizeof(Token) * narrow.size()));
}

struct Bare : SmallRunFolder {
  Bare() : SmallRunFolder(3) {
    for (const std::string name : {"train", "validation"}) {
      const auto from = folder / (name + ".bin");
      write_bare<std::uint16_t>(from, folder / (name + ".u16"));
      write_bare<std::uint32_t>(from, folder / (name + ".u32"));
    }
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
};

}  // namespace

TEST_CASE("formats: bare files of 16 and 32 bits train and evaluate as those with a header") {
  const Bare b;
  REQUIRE(b.run({"train"}).exit_code == 0);
  const auto expected = read_run(b.folder / "run/run.h5");
  const auto loss =
      run_program({"eval", "--model", b.path("run"), "--tokens", b.path("validation.bin"),
                   "--sequence-length", "16", "--bytes", "1500"});
  REQUIRE(loss.exit_code == 0);
  for (const std::string width : {"16", "32"}) {
    INFO(width << " bits");
    const auto format = "raw_uint" + width, end = ".u" + width;
    const auto trained =
        b.run({"train", "--output", b.path(format), "--set", "data.format=" + format, "--set",
               "data.vocab_size=64", "--set", "data.train=" + b.path("train" + end), "--set",
               "data.validation=" + b.path("validation" + end)});
    INFO(trained.errors);
    REQUIRE(trained.exit_code == 0);
    const auto run = read_run(b.folder / format / "run.h5");
    for (std::size_t i = 0; i < run.steps.size(); ++i) {
      CHECK(run.steps[i].loss == expected.steps[i].loss);
    }
    for (const std::string flag : {"--format", "--layout"}) {
      const auto evaluated =
          run_program({"eval", "--model", b.path("run"), "--tokens", b.path("validation" + end),
                       "--sequence-length", "16", "--bytes", "1500", flag, format});
      CHECK(evaluated.output == loss.output);
    }
  }
}

TEST_CASE("formats: one window and its target are enough to train on, less is named") {
  const Bare b;
  write_bare<std::uint32_t>(b.folder / "train.bin", b.folder / "one.u32", 17);
  write_bare<std::uint32_t>(b.folder / "train.bin", b.folder / "less.u32", 16);
  const auto train = [&](const std::string& training, const std::string& validation) {
    return b.run({"train", "--set", "data.format=raw_uint32", "--set", "data.vocab_size=64",
                  "--set", "data.train=" + b.path(training), "--set",
                  "data.validation=" + b.path(validation)});
  };
  CHECK(train("one.u32", "one.u32").exit_code == 0);
  for (const auto& result : {train("less.u32", "one.u32"), train("one.u32", "less.u32")}) {
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors,
               Contains("less.u32: 16 tokens are too few for a sequence of 16 "
                        "(data.sequence_length) and its last target: at least 17 are needed"));
  }
}

TEST_CASE("Text in place of tokens is refused with the command that makes tokens of it") {
  const SmallRunFolder small(3);
  REQUIRE(small.run({"train"}).exit_code == 0);
  const auto text = (small.folder / "novel.txt").string(), made = (small.folder / "made").string();
  std::ofstream(text) << std::string(40, '!') + "\n" + std::string(40, '!') + "\n";
  const auto run = (small.folder / "run").string();
  for (const auto* format : {"auto", "raw_uint16", "raw_uint32"}) {
    for (const auto& words :
         {std::vector<std::string>{"eval", "--model", run, "--tokens", text, "--sequence-length",
                                   "16", "--format"},
          {"train", small.config, "--output", made, "--set", "data.train=" + text, "--set"}}) {
      auto given = words;
      given.push_back(words[0] == "eval" ? format : std::string("data.format=") + format);
      const auto result = run_program(given);
      INFO(result.errors);
      CHECK(result.exit_code == 2);
      CHECK_THAT(result.errors,
                 Contains("blockwise: " + text + ": this is text, not a token file"));
      CHECK(std::ranges::count(result.errors, '\n') == 1);
    }
  }
  const auto said = run_program({"eval", "--model", run, "--tokens", text}).errors;
  auto command = said.substr(said.find("`blockwise ") + 11);
  command = command.substr(0, command.find('`'));
  command.replace(command.find("DIR"), 3, made);
  REQUIRE(std::system((program_path() + " " + command + " > /dev/null 2>&1").c_str()) == 0);
  const auto result = run_program({"eval", "--model", run, "--tokens", made + "/train.bin"});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
}
