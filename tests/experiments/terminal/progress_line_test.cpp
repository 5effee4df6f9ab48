#include "experiments/terminal/progress_line.hpp"

#include "core/text/display_width.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

ProgressState sweep_state() {
  return {"sweep quickstart", 450.0, 1000.0, "3m 20s left",
          "12.3k tok/s | adam_mini-lr-0.003-seed-1 2.310, adamw-lr-0.003-seed-1 2.401"};
}

}  // namespace

TEST_CASE("Progress line: the time left stands first and stays, whatever the width") {
  for (std::size_t width = 20; width < 160; ++width) {
    INFO(width);
    const auto line = progress_line(sweep_state(), width, true);
    INFO(line);
    CHECK(display_width(line) <= width);
    CHECK_THAT(line, Contains("45% 3m 20s left"));
  }
  CHECK_THAT(progress_line(sweep_state(), 79, true),
             Contains("3m 20s left | 450/1000 sweep quickstart") && !Contains("adam"));
  CHECK_THAT(progress_line(sweep_state(), 120, true),
             Contains("adam_mini-lr-0.003-seed-1 2.310") && !Contains("adamw"));
}

TEST_CASE("Progress line: parts go whole") {
  const auto line = progress_line(sweep_state(), 82, true);
  CHECK_THAT(line, Contains("quickstart") && !Contains("12.3k"));
}

TEST_CASE("Progress line: ASCII where the terminal draws nothing else") {
  for (const char c : progress_line(sweep_state(), 79, false)) {
    CHECK(static_cast<unsigned char>(c) < 0x80);
  }
  CHECK_THAT(progress_line(sweep_state(), 79, false), Contains("##########.............."));
  CHECK_THAT(progress_line(sweep_state(), 79, true), Contains("██████████░░░░░░░░░░░░░░"));
}

TEST_CASE("Progress line: a log gets everything, and no bar") {
  CHECK(progress_log_line({"run", 3.0, 4.0, "1s left", "loss 2.3"}) ==
        "1s left | 3/4 run | loss 2.3");
}
