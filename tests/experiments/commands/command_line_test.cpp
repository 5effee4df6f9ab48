// Words of the command line that do not fit, and what is said of them.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

void check_refused(const std::vector<std::string>& words, const std::string& what) {
  const auto result = run_program(words, "unset COLUMNS;");
  INFO(result.errors);
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains(what));
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
  CHECK(result.output.empty());
}

}  // namespace

TEST_CASE("Command line: misspelt verbs and flags get the one that is meant") {
  check_refused({"trian", "x.yaml"}, "there is no verb 'trian', did you mean 'train'?");
  check_refused({"serach-lr"}, "did you mean 'search-lr'?");
  check_refused({"xyzzyplugh"}, "there is no verb 'xyzzyplugh'; verbs: train, sweep, report");
  check_refused({"--versoin"}, "there is no flag '--versoin', did you mean '--version'?");
  check_refused({"train", "x.yaml", "--threds", "3"},
                "train: there is no flag '--threds', did you mean '--threads'?");
  check_refused({"train", "--threds=3", "x.yaml"}, "did you mean '--threads'?");
  check_refused({"spectrum", "--modle", "runs/x"}, "did you mean '--model'?");
  // A flag that is meant to be a required one.
  check_refused({"eval", "--modle", "runs/x", "--tokens", "x.bin"}, "did you mean '--model'?");
}

TEST_CASE("Command line: the program alone shows help") {
  const auto bare = run_program({});
  CHECK(bare.exit_code == 0);
  CHECK(bare.errors.empty());
  CHECK(bare.output == run_program({"--help"}).output);
  CHECK_THAT(bare.output, Contains("search-lr") && Contains("Exit codes"));
}

TEST_CASE("Command line: --set without '=' is told the form") {
  const SmallRunFolder small(4);
  const std::string form = "the form is key=value, in one word: --set trainer.steps=VALUE";
  for (const std::string verb : {"train", "sweep", "plan", "spectrum", "partition", "search-lr"}) {
    check_refused({verb, small.config, "--set", "trainer.steps", "3"}, form);
  }
  check_refused({"train", small.config, "--set", "trainer.steps:", "3"}, form);
  check_refused({"train", small.config, "--set", "trainer.steps: 3"}, form);
  check_refused({"train", "--set", "trainer.steps", "3", small.config}, form);
}

TEST_CASE("Command line: what is missing and what is too much are named with the verb") {
  check_refused({"train"}, "train: config is required");
  check_refused({"report", "a", "b"}, "report: 'b' is one word too many");
  check_refused({"train", "x.yaml", "--threads", "5000"}, "--threads");
  check_refused({"report", "a", "--confirm", "7", "8", "7"}, "the seed 7 stands there twice");
}

TEST_CASE("Command line: an empty word is no value") {
  check_refused({"train", ""}, "train: config is empty");
  check_refused({"train", "x.yaml", "--output", ""}, "train: --output is empty");
  check_refused({"sweep", "x.yaml", "--output="}, "sweep: --output");
  check_refused({"spectrum", "x.yaml", "--model", "a", "--model", ""},
                "spectrum: --model is empty");
  check_refused({"data", "--train", "a.txt", "--output", ""}, "data: --output is empty");
}

TEST_CASE("Command line: a wrong key of the top level has a place and a suggestion") {
  const SmallRunFolder small(4);
  check_refused({"train", small.config, "--set", "trianer.steps=3"},
                "--set trianer.steps=3: trianer: unknown key, did you mean 'trainer'?");
  auto text = small_run_yaml(small.folder.path());
  const auto at = text.find("trainer:");
  const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  text.replace(at, 8, "trianer:");
  write_file_atomically(small.config, text);
  check_refused(
      {"train", small.config},
      fmt::format("run.yaml:{}:1: trianer: unknown key, did you mean 'trainer'?", line + 1));
}

TEST_CASE("partition: a bound on the state below the minimum is refused before any product") {
  const SmallRunFolder small(4);
  const auto output = (small.folder / "p").string();
  const auto result =
      run_program({"partition", small.config, "--max-state", "1e-6", "--output", output});
  INFO(result.errors);
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("discovery.max_state: 1e-06 of") && Contains("--max-state"));
  CHECK(!std::filesystem::exists(output));
  const std::string words = "the minimum is ";
  const auto at = result.errors.find(words);
  REQUIRE(at != std::string::npos);
  const auto least = result.errors.substr(at + words.size(), 8);
  CHECK(run_program({"partition", small.config, "--max-state", least, "--dry-run"}).exit_code == 0);
  // The smallest number that is written otherwise.
  const auto below = fmt::format("{:.6f}", std::stod(least) - 2e-6);
  CHECK(run_program({"partition", small.config, "--max-state", below, "--dry-run"}).exit_code == 2);
}

TEST_CASE("Command line: errors name the flag that gave what is wrong, for every verb with it") {
  const SmallRunFolder small(4);
  REQUIRE(small.run({"train"}).exit_code == 0);
  const auto file = (small.folder / "file").string();
  write_file_atomically(file, "in the way");
  const auto run = (small.folder / "run").string();
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"train", small.config},
        {"spectrum", small.config, "--no-figure"},
        {"partition", small.config},
        {"export", "--model", run},
        {"search-lr", small.config, "--method", "curvature"}}) {
    INFO(words[0]);
    auto with_output = words;
    with_output.insert(with_output.end(), {"--output", file});
    const auto result = run_program(with_output, "unset COLUMNS;");
    INFO(result.errors);
    CHECK((result.exit_code == 1 || result.exit_code == 2));
    if (result.exit_code == 2) CHECK_THAT(result.errors, Contains("--output"));
  }
  const auto missing = (small.folder / "none").string();
  CHECK_THAT(run_program({"generate", "--model", missing, "--prompt", "1"}).errors,
             Contains("(flags: --model)"));
}
