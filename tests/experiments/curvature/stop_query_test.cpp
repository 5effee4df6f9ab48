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

namespace {

// Measures until so many products are done, in a process of its own: HDF5 goes on with no file that
// it wrote to in the same one. "PRODUCTS STOPPED".
std::string measure_at_most(const ResolvedSpectrum& spectrum, std::int64_t most) {
  ChildProcess child([&](const auto& say) {
    std::int64_t done = 0;
    const auto outcome =
        measure_spectrum(spectrum, {[&](std::int64_t count, const auto&) { done = count; },
                                    [&] { return done >= most; }, [] { return "a test"; }});
    say(fmt::format("{} {}", done, outcome.state == RunState::interrupted));
  });
  return child.wait().text;
}

ResolvedSpectrum resolved(const SmallRunFolder& small, const std::vector<std::string>& settings) {
  auto document = YamlDocument::load(small.config);
  for (const auto& setting : settings) document.set(setting);
  auto config = document.run_config();
  config.output = (small.folder / "found").string();
  return resolve_spectrum(config);
}

}  // namespace

TEST_CASE("spectrum: a stop that is asked for ends it before that product, and is named") {
  const SmallRunFolder small(4);
  const auto spectrum =
      resolved(small, {"hessian.parts.names=['*norm*']", "hessian.guards=false",
                       "hessian.lanczos.steps=0", "hessian.diagonal.products=20"});
  const auto measure = [&](std::int64_t most) { return measure_at_most(spectrum, most); };
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

// What is there of the probes is not made again, and does not take the solver's state with it.
TEST_CASE("spectrum: stopped in a solver of its own, it goes on where it was") {
  const std::vector<std::string> settings = {
      "hessian.parts.names=['*q_proj*']",  "hessian.guards=false",  "hessian.lanczos.steps=10",
      "hessian.lanczos.probes=2",          "hessian.pairs.count=4", "hessian.lanczos.save_every=1",
      "hessian.pairs.solver=thick_restart"};
  const SmallRunFolder undisturbed(4), stopped(4);
  const auto products = [](const std::string& text) { return std::stoll(text); };
  const auto all = products(measure_at_most(resolved(undisturbed, settings), 100000));
  REQUIRE(all > 60);
  const auto spectrum = resolved(stopped, settings);
  const auto first = products(measure_at_most(spectrum, all - 10));
  CHECK(first == all - 10);
  const auto text = measure_at_most(spectrum, 100000);
  INFO(text);
  CHECK_THAT(text, Contains(" false"));
  // Of the last step before the stop at most a product or two are made again.
  CHECK(products(text) <= 12);
}
