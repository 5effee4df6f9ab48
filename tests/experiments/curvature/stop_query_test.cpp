// `spectrum` ends where the query that it is given says so: no signal, no global.
#include <fmt/format.h>

#include "core/io/hdf5_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/curvature/spectrum.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

TEST_CASE("spectrum: a stop that is asked for ends it before that product, and is named") {
  const SmallRunFolder small(4);
  auto document = YamlDocument::load(small.config);
  for (const auto* setting : {"hessian.parts.names=['*norm*']", "hessian.guards=false",
                              "hessian.lanczos.steps=0", "hessian.diagonal.products=20"}) {
    document.set(setting);
  }
  auto config = document.run_config();
  config.output = (small.folder / "found").string();
  const auto spectrum = resolve_spectrum(config);
  // A process of its own each: HDF5 goes on with no file that it wrote to in the same one.
  const auto measure = [&](std::int64_t most) {
    ChildProcess child([&](const auto& say) {
      std::int64_t done = 0;
      const auto outcome =
          measure_spectrum(spectrum, {[&](std::int64_t count, const auto&) { done = count; },
                                      [&] { return done >= most; }, [] { return "a test"; }});
      say(fmt::format("{} {}", done, outcome.state == RunState::interrupted));
    });
    return child.wait().text;
  };
  CHECK(measure(7) == "7 true");
  const auto message = [&] {
    const auto file = Hdf5File::open_for_reading(small.folder / "found/spectrum.h5");
    return file.text("/status/message");
  };
  CHECK(message() == "stopped by a test");
  CHECK(measure(11) == "11 true");
  CHECK_THAT(measure(1000), Contains(" false"));
  CHECK(message().empty());
}
