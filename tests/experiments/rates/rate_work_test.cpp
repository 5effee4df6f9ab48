// What a search for rates does is what it said that it would, counted by the model itself.
#include "experiments/config/config_yaml.hpp"
#include "experiments/rates/rate_search.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/counted_passes.hpp"
#include "tests/support/formula_oracle.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Done {
  WorkCount curvature, moments;  // the forecasts
  std::int64_t told = 0;         // units of progress, the last number
  std::int64_t passes = 0;       // forward passes of the model
  RateSearchOutcome outcome;
};

// One example per product and a graph for each, so that a product is one pass, and so is an
// example's gradient.
Done search(const SmallRunFolder& small, const std::vector<std::string>& settings) {
  auto document = YamlDocument::load(small.config);
  for (const auto* setting :
       {"hessian.method=fresh_graph", "hessian.batches=1", "hessian.batch_size=1",
        "search_lr.samples=2", "search_lr.products=3", "search_lr.gradient_batches=5",
        "search_lr.trial_seeds=2", "optimizer.partition.rule=per_tensor"}) {
    document.set(setting);
  }
  for (const auto& setting : settings) document.set(setting);
  auto config = document.run_config();
  config.output = (small.folder / "found").string();
  fs::remove_all(config.output);
  Done done;
  auto resolved = resolve_rate_search(std::move(config));
  tell_passes(resolved.config, [&done] { ++done.passes; });
  done.curvature = resolved.curvature_work;
  done.moments = resolved.moment_work;
  FormulaOracle oracle([](std::int64_t seed) { return 0.1 * static_cast<double>(seed); });
  done.outcome = search_rates(
      resolved, oracle, [&](std::int64_t units, const std::string&) { done.told = units; },
      never_stop);
  return done;
}

// What the table says.
std::int64_t products_of(const RateSearchOutcome& outcome) {
  std::int64_t products = 0;
  for (const auto& rate : outcome.measured.rates) products += rate.products;
  return products;
}

}  // namespace

TEST_CASE("search-lr: a tolerance of zero takes every product that is forecast") {
  const SmallRunFolder small(4);
  const auto done = search(small, {"search_lr.error=0"});
  REQUIRE(done.outcome.finished);
  CHECK(done.outcome.work.products == done.curvature.products);
  CHECK(done.outcome.work.passes == done.curvature.passes);
}

TEST_CASE("search-lr: every method does the work that is forecast") {
  const SmallRunFolder small(4);
  const std::vector<std::vector<std::string>> kinds = {
      {"search_lr.method=curvature", "search_lr.error=0"},
      {"search_lr.method=curvature", "search_lr.error=0", "search_lr.per=block",
       "optimizer.partition.rule=adam_mini"},
      {"search_lr.method=mean_v"},
      {"search_lr.method=coordinate", "search_lr.points=3"},
      {"search_lr.method=leave_out", "search_lr.error=0", "search_lr.points=3",
       "search_lr.left_out=[1]"}};
  for (const auto& settings : kinds) {
    INFO(settings.front());
    const auto done = search(small, settings);
    REQUIRE(done.outcome.finished);
    const auto& work = done.outcome.work;
    CHECK(done.told == done.curvature.units + done.moments.units);
    CHECK(work.products <= done.curvature.products);
    CHECK(work.products == products_of(done.outcome));
    CHECK(work.calibrations == done.curvature.calibrations);
    CHECK(work.examples == done.moments.examples);
    CHECK(done.passes == work.passes + work.examples);
  }
}

TEST_CASE(
    "search-lr: an error that is large enough ends it before the products that are forecast") {
  const SmallRunFolder small(4);
  const auto done = search(small, {"search_lr.error=1", "search_lr.products=40"});
  REQUIRE(done.outcome.finished);
  CHECK(done.outcome.work.products < done.curvature.products);
  CHECK(done.told == done.curvature.units + done.moments.units);
  CHECK(done.outcome.work.products == products_of(done.outcome));
}
