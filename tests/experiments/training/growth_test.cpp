// Long runs take the memory of short ones.
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("A run of ten thousand steps takes the memory of one of a thousand") {
  const SmallRunFolder small(1000);
  std::vector<std::int64_t> peaks;
  for (const auto* steps : {"1000", "10000"}) {
    const auto output = (small.folder / steps).string();
    const auto result =
        small.run({"train", "--output", output, "--set", "trainer.steps=" + std::string(steps),
                   "--set", "trainer.evaluate_every=100", "--set", "trainer.checkpoint_every=250",
                   "--set", "trainer.keep_checkpoints=2", "--set", "trainer.norms_every=10",
                   "--set", "optimizer.gradient_clip=1.0"});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    peaks.push_back(read_run(output + "/run.h5").peak_resident);
  }
  INFO(peaks[0] << " and " << peaks[1]);
  // 9,000 steps more: 256 bytes of each would be found. Two short runs differ by less than 1 MiB.
  CHECK(peaks[1] - peaks[0] < 9000 * 256);
}
