// What a search for a partition does is what it said that it would, counted by the model itself, or
// what was done when it was told to stop.
#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/partitions/partition_discovery.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/counted_passes.hpp"
#include "tests/support/formula_oracle.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Done {
  WorkCount forecast, work;
  std::int64_t told = 0;    // units of progress, the last number
  std::int64_t passes = 0;  // forward passes of the model
  DiscoveryOutcome outcome;
};

// One example per product and a graph for each, so that a product or a gradient is one pass.
ResolvedDiscovery resolved(const SmallRunFolder& small, const std::vector<std::string>& settings) {
  auto document = YamlDocument::load(small.config);
  for (const auto* setting : {"hessian.method=fresh_graph", "hessian.batches=1",
                              "hessian.batch_size=1", "discovery.vectors=2", "discovery.codes=2",
                              "discovery.candidates=[row]", "discovery.gradient_batches=10",
                              "discovery.validation_vectors=0", "discovery.condition_blocks=0"}) {
    document.set(setting);
  }
  for (const auto& setting : settings) document.set(setting);
  auto config = document.run_config();
  config.output = (small.folder / "found").string();
  return resolve_discovery(std::move(config));
}

Done discover(const SmallRunFolder& small, const std::vector<std::string>& settings,
              FormulaOracle oracle = {}) {
  Done done;
  auto discovery = resolved(small, settings);
  fs::remove_all(discovery.config.output);
  tell_passes(discovery.config, [&done] { ++done.passes; });
  done.forecast = discovery.work;
  done.outcome = discover_partition(
      discovery, oracle, [&](std::int64_t units, const std::string&) { done.told = units; },
      never_stop);
  done.work = done.outcome.work;
  return done;
}

// All that is planned, and no pass of the model beside it.
void check_exact(const Done& done) {
  REQUIRE(done.outcome.finished);
  CHECK(done.work.products == done.forecast.products);
  CHECK(done.work.passes == done.forecast.passes);
  CHECK(done.work.calibrations == done.forecast.calibrations);
  CHECK(done.work.examples == done.forecast.examples);
  CHECK(done.told == done.forecast.units);
  CHECK(done.passes == done.forecast.passes + done.forecast.examples);
}

}  // namespace

TEST_CASE("partition: every kind of measurement does the work that is forecast") {
  const SmallRunFolder small(4);
  const std::vector<std::vector<std::string>> kinds = {
      {"discovery.objective=signal_to_noise"},
      {"discovery.scope=tensor"},
      {"discovery.scope=model"},
      {"discovery.merge=true"},
      {"discovery.validation_vectors=3"},
      {"hessian.exact=true", "model.n_embd=4", "model.n_head=1", "discovery.candidates=[column]"}};
  for (const auto& settings : kinds) {
    INFO(settings.front());
    check_exact(discover(small, settings));
  }
}

TEST_CASE("partition: condition numbers take at most the products that are forecast") {
  const SmallRunFolder small(4);
  const auto without = discover(small, {});
  const auto with = discover(small, {"discovery.condition_blocks=2"});
  REQUIRE(with.outcome.finished);
  CHECK(with.told == with.forecast.units);
  CHECK(with.work.products > without.work.products);
  CHECK(with.work.products <= with.forecast.products);
  CHECK(with.work.calibrations <= with.forecast.calibrations);
  CHECK(with.passes == with.work.passes + with.work.examples);
}

TEST_CASE("partition: by loss it measures what is forecast, and asks the oracle for the rest") {
  const SmallRunFolder small(4);
  const auto done = discover(
      small, {"discovery.objective=loss", "discovery.trial_seeds=3", "discovery.candidates=[row]"},
      FormulaOracle([](std::int64_t seed) { return 3.0 + 0.1 * static_cast<double>(seed); }));
  check_exact(done);
  CHECK(!done.outcome.decisions.empty());
  // Nothing costs any loss, so nothing is kept but whole matrices.
  for (const auto& section : done.outcome.sections) {
    if (section.is_matrix) CHECK(section.candidates[section.chosen].name == "whole");
  }
}

TEST_CASE("partition: it stops when whoever started it says so, and goes on alike") {
  const SmallRunFolder small(4);
  const auto discovery =
      resolved(small, {"discovery.validation_vectors=2", "discovery.merge=true"});
  const auto file = fs::path(discovery.config.output) / "partition.yaml";
  FormulaOracle unasked;
  // Stopped once so many units are done; -1: never.
  const auto run = [&](std::int64_t last) {
    std::int64_t told = 0;
    const auto observe = [&](std::int64_t units, const std::string&) { told = units; };
    const auto stop = [&] { return last >= 0 && told >= last; };
    const bool finished = discover_partition(discovery, unasked, observe, stop).finished;
    CHECK((finished || told <= last + 1));
    return finished;
  };
  REQUIRE(run(-1));
  const auto whole = read_text_file(file.string());
  for (const std::int64_t last : {0, 5, 10, 20}) {
    fs::remove_all(discovery.config.output);
    CHECK(!run(last));
    CHECK(!fs::exists(file));
    CHECK(run(-1));
    CHECK(read_text_file(file.string()) == whole);
  }
}
