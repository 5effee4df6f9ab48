// More threads than cores are said, wherever they come from. `taskset` gives the program one core.
#include "experiments/terminal/thread_note.hpp"

#include "core/memory/device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

struct AddsStep : SmallRunFolder {
  AddsStep() : SmallRunFolder(3, "sweep:\n  seeds: [1, 2]\n") {}
};

}  // namespace

TEST_CASE("threads: a note says both numbers and the remedy") {
  const auto cores = available_threads();
  CHECK(thread_note(cores).empty());
  CHECK_THAT(thread_note(cores + 1),
             Contains(std::to_string(cores + 1) + " threads (trainer.threads or --threads)") &&
                 Contains(std::to_string(cores) + " core") &&
                 Contains("--threads " + std::to_string(cores)));
  CHECK(jobs_note(1).empty());
  CHECK_THAT(jobs_note(2 * cores), Contains(std::to_string(2 * cores) + " runs at a time") &&
                                       Contains("--jobs " + std::to_string(cores)));
}

TEST_CASE("threads: the program warns of the flag, the variable and the jobs") {
  const SmallRunFolder small(3);
  const std::string note = "blockwise: note: ";
  const auto flag = small.run({"train", "--threads", "2"}, "taskset -c 0");
  CHECK(flag.exit_code == 0);
  CHECK_THAT(flag.errors, Contains(note + "2 threads (trainer.threads or --threads) for the 1 core "
                                          "that this process may use") &&
                              Contains("--threads 1 is faster"));
  const auto variable = small.run(
      {"train", "--set", "trainer.threads=0", "--output", (small.folder / "other").string()},
      "export OMP_NUM_THREADS=3; exec taskset -c 0");
  CHECK_THAT(variable.errors, Contains(note + "3 threads (OMP_NUM_THREADS)"));
  const AddsStep sweep;
  const auto jobs = sweep.run({"sweep", "--jobs", "2"}, "taskset -c 0");
  CHECK(jobs.exit_code == 0);
  CHECK_THAT(jobs.errors, Contains(note + "2 runs at a time are 2 threads for the 1 core"));
}
