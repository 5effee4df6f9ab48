// The shim before the real program.
#include <fmt/format.h>
#include <signal.h>

#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("Faults: the program itself ends with a sentence, or by the signal, and goes on") {
  const SmallRunFolder small(4);
  const auto prefix = [&](const std::string& fault) {
    return fmt::format("export LD_PRELOAD={} BLOCKWISE_FAULT={}:{}/run;", BLOCKWISE_FAULT_SHIM,
                       fault, small.folder.path().string());
  };
  CHECK(small.run({"train"}, prefix("kill:40")).exit_code == -SIGKILL);
  const auto once = small.run({"train"}, prefix("once:20"));
  CHECK(once.exit_code == 1);
  CHECK_THAT(once.errors, Contains("No space left on device") || Contains("Input/output error"));
  CHECK(small.run({"train"}, prefix("lasting:10")).exit_code == 1);
  CHECK(small.run({"train"}).exit_code == 0);
  CHECK(read_run(small.folder / "run/run.h5").steps.size() == 4);
}
