// What every verb prints, at the width of a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/text/display_width.hpp"
#include "core/text/printable_text.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

// A word that is wider than the line, like a path in a folder of tests, has a line of its own.
void check_width(const std::string& text, std::size_t width) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    const auto begin = std::min(line.size(), line.find_first_not_of(' '));
    const bool one_word = line.find(' ', begin) == std::string::npos;
    CHECK((display_width(line) <= width || one_word || line.ends_with(" \\")));
  }
}

ProgramResult at_width(const std::vector<std::string>& words, int columns) {
  return run_program(words, fmt::format("export COLUMNS={};", columns));
}

// A sweep of two groups with two rates, whose tables are the widest that there are.
constexpr auto kSweep = R"(sweep:
  seeds: [1, 2]
  baseline: adamw
  groups:
    - {name: a-group-with-a-long-name, set: {optimizer.rule: adam_mini}}
    - {name: adamw, set: {optimizer.rule: adamw}}
  parameters:
    optimizer.learning_rate: {values: [1.0e-3, 1.0e-2]}
)";

// Relative, so that no path is wider than the line: what verbs print, in the folder of a run.
std::vector<std::vector<std::string>> printing_verbs(const SmallRunFolder& small) {
  const auto run = (small.folder / "run").string();
  const auto tokens = (small.folder / "validation.bin").string();
  const auto in = [&](const char* name) { return (small.folder / name).string(); };
  return {{"report", run},
          {"list"},
          {"plan", small.config},
          {"train", small.config},
          {"eval", "--model", run, "--tokens", tokens, "--sequence-length", "16"},
          {"spectrum", small.config, "--output", in("s"), "--set", "hessian.lanczos.steps=4",
           "--set", "hessian.spectral.functions=[effective_dimension]", "--no-figure"},
          {"partition", small.config, "--model", run, "--output", in("p"), "--set",
           "discovery.vectors=2"},
          {"search-lr", small.config, "--set", "optimizer.rule=blockwise_sgd", "--method",
           "curvature", "--output", in("r")},
          {"export", "--model", run, "--output", in("e")}};
}

}  // namespace

TEST_CASE("Terminal: nothing that a verb prints is wider than 80 columns") {
  const SmallRunFolder small(4);
  REQUIRE(small.run({"train"}).exit_code == 0);
  for (const auto& words : printing_verbs(small)) {
    INFO(words[0]);
    const auto result = at_width(words, 80);
    INFO(result.errors);
    CHECK(result.exit_code == 0);
    CHECK(!result.output.empty());
    check_width(result.output, 80);
  }
}

TEST_CASE("Terminal: the table of partitions keeps to the width, and --wide does not") {
  const SmallRunFolder small(4);
  const std::vector<std::string> words = {"train", small.config, "--dry-run"};
  const auto table_of = [](const std::string& text) { return text.substr(text.find("\n\n")); };
  check_width(table_of(at_width(words, 60).output), 60);
  auto wide = words;
  wide.emplace_back("--wide");
  CHECK(table_of(at_width(wide, 60).output) ==
        table_of(run_program(words, "unset COLUMNS;").output));
}

TEST_CASE("Terminal: the report of a sweep keeps to the width, and --wide does not") {
  const SmallRunFolder small(4, kSweep);
  REQUIRE(small.run({"sweep"}).exit_code == 0);
  const auto run = (small.folder / "run").string();
  for (const int columns : {40, 80, 100}) {
    const auto result = at_width({"report", run}, columns);
    REQUIRE(result.exit_code == 0);
    check_width(result.output, static_cast<std::size_t>(columns));
    for (const auto* title : {"optimizer", "peak memory", "tokens/s", "best loss", "Holm"}) {
      CHECK_THAT(result.output, Contains(title));
    }
  }
  const auto full = run_program({"report", run}, "unset COLUMNS;").output;
  CHECK(at_width({"report", run, "--wide"}, 80).output == full);
  CHECK(run_program({"report", run}, "export COLUMNS=none;").output == full);
  std::istringstream lines(full);
  std::size_t widest = 0;
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, display_width(line));
  CHECK(widest > 100);
}

TEST_CASE("Terminal: help keeps to the width") {
  check_width(at_width({"--help"}, 50).output, 50);
  check_width(at_width({"eval", "--help"}, 60).output, 60);
  for (const auto* verb : {"train", "sweep", "report", "data", "plan", "eval", "generate", "export",
                           "spectrum", "partition", "search-lr", "list"}) {
    INFO(verb);
    const auto result = at_width({verb, "--help"}, 80);
    CHECK(result.exit_code == 0);
    check_width(result.output, 80);
  }
}

TEST_CASE("Terminal: errors are broken at words, of a file only where COLUMNS says so") {
  const std::vector<std::string> words = {"plan", "no/such/file.yaml"};
  check_width(at_width(words, 40).errors, 40);
  const auto whole = run_program(words, "unset COLUMNS;").errors;
  CHECK(std::count(whole.begin(), whole.end(), '\n') == 1);
}
