// What a sweep expands to, and the bounds of what it may ask for.
#include "experiments/config/sweep_config.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <set>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

SweepConfig sweep_of(const std::string& section) {
  return YamlDocument::parse(small_run_yaml("nowhere") + "sweep: " + section, "x.yaml")
      .sweep_config();
}

std::vector<MemberPlan> members_of(const std::string& section) { return expand(sweep_of(section)); }

std::string error_of(const std::string& section) {
  return input_error([&] { members_of(section); });
}

std::set<std::string> ids_of(const std::vector<MemberPlan>& members) {
  std::set<std::string> ids;
  for (const auto& member : members) ids.insert(member.id);
  return ids;
}

std::string random_sweep(std::int64_t run_cap, const std::string& more = "") {
  return fmt::format(
      "{{method: random, run_cap: {}, {} parameters: {{optimizer.learning_rate: {{values: [1e-3, "
      "1e-2, 5e-4]}}, optimizer.beta2: {{values: [0.9, 0.95, 0.99, 0.999]}}}}}}",
      run_cap, more);
}

}  // namespace

TEST_CASE("Random sweep: points are distinct, up to all that there are") {
  for (const std::int64_t run_cap : {1, 4, 5, 8, 12}) {
    INFO(run_cap);
    CHECK(std::ssize(ids_of(members_of(random_sweep(run_cap)))) == run_cap);
  }
  CHECK_THAT(error_of(random_sweep(13)),
             Contains("x.yaml:") && Contains("run_cap is 13, group 'run' has 12 distinct "
                                             "configurations"));
}

TEST_CASE("Random sweep: more points keep the first ones, another seed has others") {
  const auto four = members_of(random_sweep(4)), eight = members_of(random_sweep(8));
  for (std::size_t i = 0; i < four.size(); ++i) CHECK(four[i].id == eight[i].id);
  const auto other = members_of(random_sweep(4, "seed: 1,"));
  CHECK(ids_of(other) != ids_of(four));
  CHECK(ids_of(members_of(random_sweep(4, "seed: 0,"))) == ids_of(four));
}

TEST_CASE("One number in several spellings is one value") {
  const auto section = [](const std::string& method) {
    return "{" + method +
           " parameters: {optimizer.learning_rate: {values: [1e-3, 1.0e-3, "
           "0.001, +1e-3]}}}";
  };
  CHECK_THAT(error_of(section("")), Contains("the members 'run-lr1e-3-s1' and 'run-lr1.0e-3-s1' "
                                             "are the same configuration"));
  CHECK_THAT(error_of(section("method: random, run_cap: 2,")),
             Contains("has 1 distinct configurations"));
  CHECK(members_of(section("method: random, run_cap: 1,")).size() == 1);
  CHECK_THAT(error_of("{parameters: {model.hidden: {values: [[1, 2.0], [1.0, 2]]}}}"),
             Contains("same configuration"));
}

TEST_CASE("Random sweep: whole numbers of the whole range, and never outside") {
  const auto range = [](const std::string& min, const std::string& max, std::int64_t run_cap = 40) {
    return fmt::format(
        "{{method: random, run_cap: {}, parameters: {{trainer.steps: {{min: {}, max: {}, "
        "distribution: int_uniform}}}}}}",
        run_cap, min, max);
  };
  const auto check = [&](const std::string& min, const std::string& max) {
    for (const auto& member : members_of(range(min, max))) {
      const auto value = std::stoll(member.overrides[0].second);
      CHECK((value >= std::stoll(min) && value <= std::stoll(max)));
    }
  };
  check("0", "9223372036854775807");
  check("9223372036854775000", "9223372036854775807");
  check("-9223372036854775808", "9223372036854775807");
  check("-5", "50");
  CHECK(members_of(range("1e2", "1.0e3")).size() == 40);
  CHECK_THAT(error_of(range("1", "40", 41)), Contains("has 40 distinct configurations"));
  CHECK(members_of(range("1", "40")).size() == 40);
  for (const std::string beyond : {"9223372036854775808", "1e19", "2.5", "1e400", "nan"}) {
    INFO(beyond);
    const auto error = error_of(range("0", beyond));
    CHECK_THAT(error, Contains("x.yaml:") && Contains(beyond));
  }
  CHECK_THAT(error_of(range("5", "5")), Contains("min is not below max"));
}

TEST_CASE("Random sweep: ranges that a double cannot span, and draws that find nothing new") {
  const auto range = [](const std::string& bounds) {
    return "{method: random, run_cap: 3, parameters: {optimizer.eps: {" + bounds + "}}}";
  };
  CHECK_THAT(error_of(range("min: -1.0e308, max: 1.0e308")), Contains("range of a double"));
  CHECK_THAT(error_of(range("min: 1.0e-300, max: 1.0e300, distribution: log_uniform_values")),
             Contains("range of a double"));
  CHECK_THAT(error_of(range("min: -inf, max: 1.0")), Contains("'-inf' where a number"));
  // Six digits leave one value of this range.
  CHECK_THAT(error_of(range("min: 1.0, max: 1.0000001")),
             Contains("gave 1 distinct configurations, run_cap asks for 3"));
}

TEST_CASE("A sweep's numbers are bounded before anything is built from them") {
  CHECK_THAT(
      error_of(random_sweep(std::numeric_limits<std::int64_t>::max())),
      Contains("sweep.run_cap: 9223372036854775807 is out of bounds, 0 to 10000 are allowed"));
  CHECK_THAT(error_of(random_sweep(-1)), Contains("sweep.run_cap: -1 is out of bounds"));
  // Ten keys of 50 values and 4 seeds: 3.9e17 members, 50^12 more overflows 64 bits.
  std::string values, seeds = "1, 2, 3, 4";
  for (int i = 0; i < 50; ++i) values += fmt::format("{}0.{}", i == 0 ? "" : ", ", 1000 + i);
  for (const int keys : {10, 12, 400}) {
    std::string parameters;
    for (int i = 0; i < keys; ++i)
      parameters += fmt::format("a.b{}: {{values: [{}]}}, ", i, values);
    const auto error =
        error_of(fmt::format("{{seeds: [{}], parameters: {{{}}}}}", seeds, parameters));
    CHECK_THAT(error, Contains("members, at most 10000 are allowed"));
  }
  CHECK_THAT(error_of("{seeds: [1, 18446744073709551616]}"), Contains("18446744073709551616"));
  CHECK_THAT(error_of("{seeds: [1, 2, 1]}"), Contains("the seed 1 stands in seeds twice"));
  CHECK_THAT(error_of("{run_cap: 2}"), Contains("sweep.run_cap: goes with method random"));
  CHECK_THAT(error_of("{parameters: {optimizer.learning_rate: {values: [0.1, 0.2], min: 5}}}"),
             Contains("it has values and a range"));
  std::string many;
  for (int i = 0; i <= kMaxMembers; ++i) many += fmt::format("{}, ", i);
  CHECK_THAT(error_of("{seeds: [" + many + "]}"), Contains("10001 members, at most 10000"));
}

TEST_CASE("A sweep section of the wrong shape says where and what") {
  for (const std::string section :
       {"{groups: [{name: a, set: [x]}]}", "{groups: [{name: a, set: x}]}", "{groups: {a: b}}",
        "{groups: [{name: [a]}]}", "{groups: [x]}", "{parameters: [a]}", "{parameters: {a: 3}}",
        "{parameters: {a: {values: 3}}}", "{parameters: {a: {values: {b: c}}}}",
        "{parameters: {[a]: {value: 3}}}", "{parameters: {a: {value: {b: c}}}}", "{[a]: b}",
        "{seeds: {a: b}}", "{seeds: [[1]]}", "{method: [grid]}", "{run_cap: [1]}",
        "{parameters: {a: {min: [1], max: 2}}}", "{seed: -1}", "{method: grid, method: grid}"}) {
    INFO(section);
    const auto error = error_of(section);
    CHECK_THAT(error, Contains("x.yaml:") && Contains(": sweep"));
    CHECK_THAT(error, !Contains("of another kind"));  // the guard, which knows no key
  }
}

TEST_CASE("A sweep's keys are set once, and are not those that a member has of its own") {
  CHECK_THAT(error_of("{parameters: {optimizer.eps: {values: [1]}}, groups: [{name: a, set: "
                      "{optimizer.eps: 2}}]}"),
             Contains("optimizer.eps is set twice for the group 'a'"));
  CHECK_THAT(error_of("{parameters: {hessian.probes: {values: [1]}, hessian.lanczos.probes: "
                      "{values: [2]}}}"),
             Contains("hessian.lanczos.probes is set twice"));
  CHECK_THAT(error_of("{parameters: {seed: {values: [1, 2]}}}"), Contains("list sweep.seeds"));
  CHECK_THAT(error_of("{groups: [{name: a, set: {output: x}}]}"), Contains("has its own output"));
  CHECK_THAT(error_of("{groups: [{name: '..'}]}"), Contains("'..' is no name"));
  CHECK_THAT(error_of("{groups: [{name: \"a\\e[2J\"}]}"), Contains("control characters"));
}

TEST_CASE("A member's folder has a name that fits, however long its settings are") {
  const auto members = members_of("{parameters: {data.train: {values: [" + std::string(400, 'a') +
                                  "1, " + std::string(400, 'a') + "2]}}}");
  REQUIRE(members.size() == 2);
  CHECK(members[0].id != members[1].id);
  for (const auto& member : members) CHECK(name_problem(member.id).empty());
}

TEST_CASE("Words of W&B's sweeps are understood, or answered with what to write") {
  const auto with = [](const std::string& domain) {
    return "{method: random, run_cap: 1, parameters: {optimizer.learning_rate: {" + domain + "}}}";
  };
  CHECK_THAT(error_of(with("min: 1e-4, max: 1e-2, distribution: log_uniform")),
             Contains("x.yaml:") && Contains("'log_uniform' is none of") &&
                 Contains("write log_uniform_values, whose min and max are values, not exponents"));
  CHECK_THAT(error_of(with("min: 1e-4, max: 1e-2, distribution: normal")),
             Contains("write uniform, with min and max"));
  CHECK_THAT(error_of(with("mu: 1, sigma: 2")),
             Contains("sweep.parameters.optimizer.learning_rate.mu: unknown key: normal"));
  CHECK_THAT(error_of("{method: bayes}"),
             Contains("'bayes' is none of grid, random: write random"));
  CHECK_THAT(error_of("{metric: {name: loss}}"), Contains("ranks by the final validation loss"));
  CHECK_THAT(error_of("{early_terminate: {type: hyperband}}"),
             Contains("members run to their end"));
  CHECK_THAT(
      error_of("{parameters: {lr: {values: [1e-3]}}}"),
      Contains("'lr' is no key of a run") && Contains("did you mean 'optimizer.learning_rate'?"));
  CHECK_THAT(error_of("{groups: [{name: a, set: {batch_size: 3}}]}"),
             Contains("trainer.global_batch_tokens"));
  CHECK_THAT(
      input_error(
          [] { YamlDocument::parse("method: grid\nparameters: {}\n", "w.yaml").sweep_config(); }),
      Contains("w.yaml: there is no section 'sweep'; `method` and `parameters` stand in it"));
  CHECK(members_of(with("values: [1e-3, 2e-3], distribution: categorical")).size() == 1);
  CHECK(members_of(with("value: 1e-3, distribution: constant")).size() == 1);
  CHECK_THAT(error_of(with("values: [1e-3], distribution: uniform")),
             Contains("'uniform' goes with min and max, there is values"));
  const auto nested = members_of(
      "{parameters: {optimizer: {parameters: {learning_rate: {values: [1e-3]}, beta2: {value: "
      "0.9}}}}}");
  REQUIRE(nested.size() == 1);
  CHECK(nested[0].overrides[0].first == "optimizer.learning_rate");
  CHECK(nested[0].overrides[1].first == "optimizer.beta2");
}

// They are read once more where they are set for a member.
TEST_CASE("A sweep's values arrive as they were written, whatever YAML would make of them") {
  for (const std::string text :
       {"a #b", "a: b", "*a", "&a", "null", "~", "[a", "a, b", "{a}", "- a", "'a'", "a\"b", "a\\b",
        "!a", "%a", "true", "0x1", "caf\u00e9"}) {
    INFO(text);
    const auto section =
        fmt::format("sweep: {{groups: [{{name: g, set: {{trainer.master_folder: {}}}}}]}}",
                    nlohmann::json(text).dump());
    const auto document = YamlDocument::parse(small_run_yaml("nowhere") + section, "x.yaml");
    const auto [path, value] = expand(document.sweep_config()).front().overrides.front();
    REQUIRE(path == "trainer.master_folder");
    auto own = document.clone();
    own.set(path, value, "test");
    CHECK(own.run_config().trainer.master_folder == text);
  }
}
