// Words of the command line that do not fit, and what is said of them.
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
    check_refused({verb, small.config, "--set", "trainer.steps:", "3"}, form);
    check_refused({verb, small.config, "--set", "trainer.steps: 3"}, form);
    check_refused({verb, "--set", "trainer.steps", "3", small.config}, form);
  }
}

TEST_CASE("Command line: what is missing and what is too much are named with the verb") {
  check_refused({"train"}, "train: config is required");
  check_refused({"report", "a", "b"}, "report: 'b' is one word too many");
  check_refused({"train", "x.yaml", "--threads", "5000"}, "--threads");
}
