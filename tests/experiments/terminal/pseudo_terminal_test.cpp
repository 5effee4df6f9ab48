// The program on a real terminal: the bar, and text of a model.
#include "tests/support/pseudo_terminal.hpp"
#include "core/text/display_width.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

bool has_beyond_ascii(const std::string& text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return true;
  }
  return false;
}

// Lines with a bar or its percentage.
std::vector<std::string> progress_lines(const std::string& screen) {
  std::vector<std::string> lines;
  for (const auto& line : shown_lines(screen)) {
    if (line.find('%') != std::string::npos) lines.push_back(line);
  }
  return lines;
}

constexpr auto kMembers = R"(sweep:
  seeds: [1, 2, 3]
  groups:
    - {name: a-group-with-a-name-that-takes-much-room, set: {optimizer.rule: adam_mini}}
)";

}  // namespace

TEST_CASE("Terminal: the bar of a sweep fits 80 columns and begins with the time") {
  const SmallRunFolder small(4, kMembers);
  const auto result =
      run_on_terminal({"sweep", small.config}, 80, {"TERM=xterm", "LC_ALL=C.UTF-8"});
  INFO(result.screen);
  CHECK(result.exit_code == 0);
  const auto lines = progress_lines(result.screen);
  REQUIRE(!lines.empty());
  for (const auto& line : lines) {
    INFO(line);
    CHECK(display_width(line) < 80);
    const auto time = std::min(line.find(" left"), line.find(" took"));
    const auto took = line.find("took ");
    CHECK((time < line.find('|') || took < line.find('|')));
  }
  CHECK(has_beyond_ascii(lines.back()));
}

TEST_CASE("Terminal: a bar of ASCII where nothing else can be drawn") {
  const SmallRunFolder small(4);
  for (const std::vector<std::string>& environment :
       {std::vector<std::string>{"TERM=xterm", "LC_ALL=C"},
        std::vector<std::string>{"TERM=xterm", "LC_ALL=", "LC_CTYPE=", "LANG=C"},
        std::vector<std::string>{"TERM=dumb", "LC_ALL=C.UTF-8"}}) {
    const auto output = (small.folder / environment.front()).string() + environment.back();
    const auto result =
        run_on_terminal({"train", small.config, "--output", output}, 80, environment);
    INFO(result.screen);
    CHECK(result.exit_code == 0);
    CHECK(!has_beyond_ascii(result.screen));
    CHECK_THAT(result.screen, Contains("####"));
    const bool dumb = environment.front() == "TERM=dumb";
    CHECK((result.screen.find('\x1b') == std::string::npos) == dumb);
  }
}

TEST_CASE("Terminal: what a model writes cannot steer it, and a pipe gets it as it is") {
  const SmallRunFolder small(4);
  REQUIRE(small.run({"train"}).exit_code == 0);
  const auto run = (small.folder / "run").string();
  // Tokens are bytes below 64, so the model has seen control characters, and writes some.
  const std::vector<std::string> words = {"generate",
                                          "--model",
                                          run,
                                          "--prompt",
                                          "1\x1b"
                                          "2\t3",
                                          "--tokens",
                                          "200"};
  const auto screen = run_on_terminal(words, 80, {"TERM=xterm"});
  INFO(screen.screen);
  CHECK(screen.exit_code == 0);
  CHECK_THAT(screen.screen, Contains("1\\x1b"));
  for (const char c : screen.screen) {
    CHECK((static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t' || c == '\r'));
  }
  const auto piped = run_program(words);
  CHECK(piped.exit_code == 0);
  CHECK_THAT(piped.output, Contains("1\x1b"));
}
