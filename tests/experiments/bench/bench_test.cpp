// `blockwise bench`: what its tables are made of, and that every group and a profile run.
#include <ATen/ATen.h>

#include <chrono>
#include <filesystem>
#include <numeric>
#include <thread>

#include "experiments/bench/bench_groups.hpp"
#include "experiments/bench/bench_report.hpp"
#include "experiments/bench/operation_times.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Approx;

TEST_CASE("bench: shares are of the limit's rate, ratios of the baseline's time") {
  const auto nothing = [] {};
  const BenchGroup group{"group",
                         {{.name = "copy", .run = nothing, .bytes = 800},
                          {.name = "product", .run = nothing, .flops = 50},
                          {.name = "update", .run = nothing, .bytes = 600, .limit = "copy"},
                          {.name = "step",
                           .run = nothing,
                           .flops = 30,
                           .tokens = 8,
                           .limit = "product",
                           .baseline = "update"}}};
  const std::vector<BenchTime> times = {{2, 1, 3}, {0.5, 0.5, 0.5}, {3, 2, 9}, {6, 5, 7}};
  const auto rows = bench_json(group, times);
  REQUIRE(rows.size() == 4);
  CHECK(rows[0]["bytes_per_second"] == 400.0);
  CHECK_FALSE(rows[0].contains("share_of_limit"));
  CHECK(rows[2]["share_of_limit"] == 0.5);
  CHECK((rows[2]["seconds_least"] == 2.0 && rows[2]["seconds_most"] == 9.0));
  CHECK(rows[3]["flops_per_second"] == 5.0);
  CHECK(rows[3]["share_of_limit"] == 0.05);
  CHECK(rows[3]["baseline_ratio"] == 2.0);
  CHECK(rows[3]["tokens_per_second"].get<double>() == Approx(8.0 / 6.0));
  CHECK_THAT(bench_table(group, times).text(), Contains("50 %") && Contains("2.00"));
}

TEST_CASE("bench: cases are timed in their order, each by itself") {
  const auto sleep = [](int milliseconds) {
    return [milliseconds] { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
  };
  const BenchGroup group{"group",
                         {{.name = "long", .run = sleep(6)}, {.name = "short", .run = sleep(1)}}};
  const auto times = time_cases(group, {.repetitions = 3, .seconds = 0.01});
  REQUIRE(times.size() == 2);
  // A sleep is never shorter; on a busy machine it can be longer.
  CHECK(times[0].least >= 6e-3);
  CHECK(times[1].least >= 1e-3);
  CHECK(times[1].least < times[0].least);
  for (const auto& time : times) CHECK((time.least <= time.median && time.median <= time.most));
}

TEST_CASE("bench: cases are chosen by name, without what is not there to compare with") {
  const auto nothing = [] {};
  const BenchGroup group{
      "group",
      {{.name = "copy", .run = nothing, .bytes = 8},
       {.name = "old", .run = nothing, .bytes = 8},
       {.name = "new", .run = nothing, .bytes = 8, .limit = "copy", .baseline = "old"}}};
  const auto two = chosen_cases(group, {"new", "old"});
  REQUIRE(two.cases.size() == 2);
  CHECK((two.cases[1].limit.empty() && two.cases[1].baseline == "old"));
  CHECK_THROWS_WITH(chosen_cases(group, {"now"}),
                    Contains("--cases: group has no case 'now'; it has: copy; old; new"));
  CHECK(run_program({"bench", "--cases", "copy"}).exit_code == 2);
  const auto one = run_program({"bench", "optimizers", "--parameters", "100000", "--repetitions",
                                "1", "--seconds", "0.0001", "--json", "--cases", "adamw"});
  REQUIRE(one.exit_code == 0);
  const auto rows = nlohmann::json::parse(one.output).at("groups").at("optimizers");
  REQUIRE(rows.size() == 1);
  // 28 bytes each, of about so many parameters: also where no layer of the largest width fits.
  CHECK(rows[0].at("bytes_per_second").get<double>() * rows[0].at("seconds").get<double>() ==
        Approx(28.0 * 100'000).epsilon(0.05));
}

TEST_CASE("bench: operations are timed without those that they call") {
  const auto a = at::ones({64, 64});
  OperationTimes times;
  at::mm(a, a);
  CHECK(times.seconds().contains("aten::mm"));
  times.restart();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) at::softmax(at::linear(a, a), 1).sum();
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
  double sum = 0.0;
  for (const auto& [name, seconds] : times.seconds()) sum += seconds;
  // Were inner operations counted twice, softmax alone would make it more.
  CHECK(sum <= whole.count());
  CHECK(times.seconds().contains("aten::_softmax"));
}

TEST_CASE("bench: every group runs at a small size") {
  for (const auto& group : bench_groups()) {
    INFO(group.name);
    const auto result =
        run_program({"bench", std::string(group.name), "--parameters", "10000", "--models", "1",
                     "--repetitions", "1", "--seconds", "0.0001", "--json"});
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    const auto document = nlohmann::json::parse(result.output);
    const auto& rows = document.at("groups").at(std::string(group.name));
    CHECK(rows.size() > 4);
    for (const auto& row : rows) CHECK(row.at("seconds").get<double>() > 0.0);
  }
}

TEST_CASE("bench: a profile's parts add up to the step, and nothing is left behind") {
  const SmallRunFolder small(4);
  const auto result = run_program({"bench", "--profile", small.config, "--steps", "3", "--json"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto profile = nlohmann::json::parse(result.output).at("profile");
  CHECK(profile.at("steps") == 3);
  double sum = 0.0;
  for (const auto& [name, seconds] : profile.at("parts").items()) sum += seconds.get<double>();
  CHECK(sum == Approx(profile.at("seconds").get<double>()).epsilon(1e-9));
  CHECK(profile.at("parts").at("matrix products") > 0.0);
  CHECK(profile.at("operations").size() == 12);
  CHECK_FALSE(std::filesystem::exists(small.folder / "run"));
}
