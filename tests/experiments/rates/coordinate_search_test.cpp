// Factors of groups, where the loss is a sum of parabolas, one per group.
#include "experiments/rates/coordinate_search.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "core/partition/partition_rules.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_oracle.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Result = PairedTrials::Result;

Parameter matrix(const std::string& name, ParameterRole role, std::int64_t layer,
                 std::int64_t rows) {
  Parameter parameter;
  parameter.name = name;
  parameter.role = role;
  parameter.layer = layer;
  parameter.shape = {rows, 4};
  return parameter;
}

// Gates, the largest; then keys; then an output, alone.
ParameterLayout small_layout() {
  return ParameterLayout(
      {matrix("0.key", ParameterRole::key, 0, 8), matrix("0.gate", ParameterRole::mlp_gate, 0, 16),
       matrix("1.key", ParameterRole::key, 1, 8), matrix("1.gate", ParameterRole::mlp_gate, 1, 16),
       matrix("out", ParameterRole::mlp_out, 1, 2)});
}

struct Search {
  ParameterLayout layout = small_layout();
  Partition partition = make_partition(layout, "per_tensor");
  FormulaOracle oracle;
  // By tensor, of the factor of its only section.
  std::function<double(std::size_t tensor, double factor, std::int64_t seed)> loss;
  TrialLimits limits{1000, 3};
  std::int64_t passes = 4;

  CoordinateOutcome run() {
    PairedTrials trials(oracle, limits);
    return coordinate_search({partition,
                              rate_groups(layout, partition, "role"),
                              {0.5, 1.0, 2.0},
                              passes,
                              [this](const BlockRates& rates) { return arm(rates); }},
                             trials);
  }

  Arm arm(const BlockRates& rates) {
    std::string id;
    for (const auto& tensor : rates.tensors) id += fmt::format("{:.9g} ", tensor.front().of(0));
    return oracle.arm(id, [this, rates](std::int64_t seed) {
      double sum = 0.2 * static_cast<double>(seed);
      for (std::size_t t = 0; t < rates.tensors.size(); ++t) {
        sum += loss(t, rates.tensors[t].front().of(0), seed);
      }
      return sum;
    });
  }
};

double parabola(double factor, double best) { return std::pow(std::log(factor / best), 2); }

double of_roles(std::size_t tensor, double factor, std::int64_t) {
  const std::array<double, 5> best = {2.0, 0.5, 2.0, 0.5, 1.0};
  return parabola(factor, best[tensor]);
}

}  // namespace

TEST_CASE("Coordinate search: groups are roles, by layer where asked for, the largest first") {
  const auto layout = small_layout();
  const auto partition = make_partition(layout, "per_tensor");
  const auto roles = rate_groups(layout, partition, "role");
  REQUIRE(roles.size() == 3);
  CHECK(roles[0].name == "mlp_gate");
  CHECK(roles[0].sections.size() == 2);
  CHECK(roles[1].name == "key");
  CHECK(roles[2].name == "mlp_out");
  const auto layers = rate_groups(layout, partition, "role_and_layer");
  REQUIRE(layers.size() == 5);
  CHECK(layers[0].name == "mlp_gate.0");
  CHECK(layers[1].name == "mlp_gate.1");
}

TEST_CASE("Coordinate search: of separate parabolas it finds every group's lowest point") {
  Search search{.loss = of_roles};
  const auto found = search.run();
  REQUIRE(found.result == Result::measured);
  const std::map<std::string, double> best = {{"mlp_gate", 0.5}, {"key", 2.0}, {"mlp_out", 1.0}};
  for (const auto& rate : found.groups) {
    INFO(rate.group.name);
    CHECK(rate.factor == Approx(best.at(rate.group.name)));
    CHECK(rate.taken == (best.at(rate.group.name) != 1.0));
    CHECK(rate.best.value == Approx(best.at(rate.group.name)));
    REQUIRE(rate.test.has_value());
  }
  const auto rates = rates_of(search.partition, found.groups);
  CHECK(rates.tensors[0].front().of(0) == Approx(2.0));
  CHECK(rates.tensors[3].front().of(0) == Approx(0.5));
  CHECK(rates.tensors[4].front().of(0) == 1.0);
}

TEST_CASE("Coordinate search: it ends after a pass that gains nothing, or the last one") {
  Search few{.loss = of_roles, .passes = 2}, many{.loss = of_roles, .passes = 50};
  few.run();
  many.run();
  CHECK(few.oracle.answered() == many.oracle.answered());
  Search one{.loss = of_roles, .passes = 1};
  CHECK(one.run().groups.front().factor == Approx(0.5));
  CHECK(one.oracle.answered().size() < few.oracle.answered().size());
}

TEST_CASE("Coordinate search: a gain that seeds do not agree on is not taken") {
  Search search{.loss = [](std::size_t tensor, double factor, std::int64_t seed) {
    if (tensor != 1 || factor == 1.0) return 0.0;
    return seed == 1 ? -0.5 : (seed == 2 ? 0.3 : -0.2);
  }};
  const auto found = search.run();
  REQUIRE(found.groups[0].test.has_value());
  CHECK(found.groups[0].test->difference.mean < 0.0);
  CHECK(!found.groups[0].taken);
  CHECK(found.groups[0].factor == 1.0);
}

TEST_CASE("Coordinate search: stopped anywhere it goes on from the kept answers") {
  Search undisturbed{.loss = of_roles};
  const auto whole = undisturbed.run();
  const auto all = std::ssize(undisturbed.oracle.answered());
  for (std::int64_t stop = 0; stop < all; stop += 7) {
    Search search{.loss = of_roles};
    search.oracle.stop_after(stop);
    CHECK(search.run().result == Result::stopped);
    search.oracle.go_on();
    const auto found = search.run();
    for (std::size_t g = 0; g < found.groups.size(); ++g) {
      CHECK(found.groups[g].factor == whole.groups[g].factor);
    }
    CHECK(search.oracle.answered() == undisturbed.oracle.answered());
  }
}

TEST_CASE("Coordinate search: the budget ends it with what it has taken so far") {
  Search search{.loss = of_roles, .limits = {20, 3}};
  const auto found = search.run();
  CHECK(found.result == Result::exhausted);
  CHECK(search.oracle.answered().size() <= 20);
  CHECK(found.groups.front().taken);
  CHECK(!found.groups.back().test.has_value());
}
