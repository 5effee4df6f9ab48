// Which processes measured a spectrum, each with its threads.
#include "core/io/hdf5_file.hpp"
#include "experiments/records/file_header.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("A spectrum that another process goes on with names both, and where the second began") {
  const SmallRunFolder small(
      4, "hessian: {each: layer, lanczos_steps: 2, probes: 1, batch_size: 2}\n");
  const auto output = small.folder / "spectrum";
  const auto measure = [&](const std::string& threads) {
    const auto result =
        small.run({"spectrum", "--output", output.string(), "--no-figure", "--threads", threads});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
  };
  const auto processes = [&] {
    const auto found = read_processes(Hdf5File::open_for_reading(output / "spectrum.h5"));
    std::vector<std::pair<std::int64_t, std::int64_t>> rows;
    for (const auto& process : found)
      rows.emplace_back(process.from_step, process.provenance.threads);
    return rows;
  };
  using Rows = std::vector<std::pair<std::int64_t, std::int64_t>>;
  measure("1");
  CHECK(processes() == Rows{{1, 1}});
  measure("2");  // finished: nothing to do
  CHECK(processes() == Rows{{1, 1}});
  auto file = Hdf5File::open_for_appending(output / "spectrum.h5");
  const auto parts = std::ssize(file.integer_column("/hessian/blocks/elements"));
  file.write_enum("/status/state", static_cast<std::int64_t>(RunState::interrupted));
  file.close();
  measure("2");
  CHECK(processes() == Rows{{1, 1}, {parts + 1, 2}});
}
