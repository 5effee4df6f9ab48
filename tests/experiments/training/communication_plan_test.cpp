// What processes send and hold, against the formulas by hand.
#include "experiments/training/communication_plan.hpp"

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

MemoryPlan example_plan() {
  MemoryPlan plan;
  plan.parameters = 1'000'000;
  plan.master_bytes = 4'000'000;
  plan.optimizer = {
      {"exp_avg", 4'000'000}, {"exp_avg_sq", 2'000'000}, {"master_weights", 4'000'000}};
  plan.peak_bytes = 30'000'000;
  plan.flops_per_token = 6e6;
  return plan;
}

RunConfig example_config(const std::string& shard) {
  RunConfig config;
  config.data.spec = dataset_kinds().make("no_data");  // examples of one target
  config.trainer.micro_batch_size = 256;               // four micro-batches of each of 4
  config.trainer.global_batch_tokens = 4096;
  config.parallel.shard = shard;
  config.parallel.bucket_mb = 1;
  return config;
}

}  // namespace

TEST_CASE("communication plan: bytes and seconds of each process", "[parallel]") {
  const auto of = plan_communication(example_plan(), example_config("none"), {4, 1e9, 1e12});
  CHECK(of.sent_bytes == Approx(2.0 * 3.0 / 4.0 * 4e6));
  CHECK(of.seconds_sending == Approx(6e6 / 1e9));
  CHECK(of.seconds_computing == Approx(6e6 * 1024 / 1e12));
  CHECK(of.optimizer_bytes == 10'000'000);
  CHECK(of.peak_bytes == 30'000'000 + 4'000'000);  // four buckets of 1 MiB are above the gradient
}

TEST_CASE("communication plan: shares of the state and of masters", "[parallel]") {
  auto config = example_config("optimizer");
  config.trainer.precision = "bf16";
  auto plan = example_plan();
  plan.parameter_bytes = 2'000'000 + 2 * 10'000;  // 10,000 of a million stay float32
  const auto of = plan_communication(plan, config, {4, 0.0, 0.0});
  CHECK(of.optimizer_bytes == 2'500'000);
  CHECK(of.peak_bytes == 30'000'000 - 10'000'000 + 2'500'000 + 4'000'000);
  // Gradients to their owners in float32, by way of those that sum them, weights back in bfloat16.
  CHECK(of.sent_bytes == Approx(3.0 / 4.0 * (1.25 * 4e6 + 2e6 + 2e4)));
  CHECK(of.seconds_sending == 0.0);
}

TEST_CASE("communication plan: layers that are collected for every micro-batch", "[parallel]") {
  auto config = example_config("parameters");
  config.trainer.precision = "bf16";
  auto plan = example_plan();
  plan.parameter_bytes = 2'000'000;
  plan.layer_bytes = {500'000, 500'000, 600'000};  // 400,000 outside
  plan.gradient_bytes = 4'000'000;
  const auto of = plan_communication(plan, config, {4, 0.0, 0.0});
  // Four times the gradients and the layers, there and back but the last one; the rest at the end.
  CHECK(of.sent_bytes == Approx(3.0 / 4.0 * (4 * (4e6 + 2 * 1.6e6 - 0.6e6) + 0.4e6)));
  // The largest two neighbours and a quarter of masters, state and gradients; buckets twice.
  const auto fixed = 30'000'000 - 10'000'000 - 2'000'000 - 4'000'000;
  CHECK(of.peak_bytes == fixed + 400'000 + 1'100'000 + 2'500'000 + 1'000'000 + 2 * 4'000'000);
}

TEST_CASE("communication plan: a step that cannot be shared is refused", "[parallel]") {
  CHECK_THROWS_WITH(plan_communication(example_plan(), example_config("none"), {3, 0.0, 0.0}),
                    Contains("3 processes, and a step has 16 micro-batches"));
  const auto one_batch = [] {
    auto config = example_config("none");
    config.trainer.global_batch_tokens = 0;
    return config;
  }();
  CHECK_THROWS_WITH(plan_communication(example_plan(), one_batch, {2, 0.0, 0.0}),
                    Contains("a step has 1 micro-batches"));
  CHECK(plan_communication(example_plan(), one_batch, {1, 0.0, 1e12}).seconds_computing ==
        Approx(6e6 * 256 / 1e12));
  auto released = example_config("none");
  released.trainer.gradients = "released";
  CHECK_THROWS_WITH(plan_communication(example_plan(), released, {4, 0.0, 0.0}),
                    Contains("trainer.gradients is released"));
}

TEST_CASE("communication plan: sums in pairs take what a process' own micro-batches need",
          "[parallel]") {
  auto config = example_config("none");
  auto plan = example_plan();
  const auto running = plan_communication(plan, config, {16, 0.0, 0.0}).peak_bytes;
  config.parallel.gradient_sum = "pairwise";
  plan.peak_bytes += 4 * 4'000'000;  // of 16 micro-batches in one process
  CHECK(plan_communication(plan, config, {16, 0.0, 0.0}).peak_bytes == running);
  CHECK(plan_communication(plan, config, {4, 0.0, 0.0}).peak_bytes == running + 2 * 4'000'000);
}

TEST_CASE("plan counts the sums of micro-batches that pairwise addition keeps", "[parallel]") {
  const blockwise::testing::SmallRunFolder small(3);
  const auto planned = [&](const std::string& order) {
    return nlohmann::json::parse(
        small.run({"plan", "--json", "--set", "parallel.gradient_sum=" + order}).output);
  };
  const auto peak = [&](const std::string& order) {
    const auto folder = (small.folder / order).string();
    REQUIRE(small.run({"train", "--output", folder, "--set", "parallel.gradient_sum=" + order})
                .exit_code == 0);
    const auto run = read_run(folder + "/run.h5");
    CHECK(run.gradient_bytes == planned(order)["gradient_bytes"]);
    return run.peak_allocated;
  };
  // Two micro-batches: one further buffer, planned and measured.
  const auto more = planned("running")["gradient_bytes"].get<std::int64_t>();
  CHECK(planned("pairwise")["gradient_bytes"] == 2 * more);
  CHECK(planned("pairwise")["peak_bytes"].get<std::int64_t>() ==
        planned("running")["peak_bytes"].get<std::int64_t>() + more);
  CHECK(peak("pairwise") == peak("running") + more);
}

TEST_CASE("plan --ranks prints what each process sends, and says it in JSON", "[parallel]") {
  const blockwise::testing::SmallRunFolder small(3);
  const auto table = small.run({"plan", "--ranks", "2", "--bandwidth", "1"});
  REQUIRE(table.exit_code == 0);
  CHECK_THAT(table.output, Contains("each of 2 processes, parallel.shard none"));
  const auto json = nlohmann::json::parse(small.run({"plan", "--ranks", "2", "--json"}).output);
  CHECK(json["each_rank"]["sent_bytes"] == 4 * json["parameters"].get<std::int64_t>());
}
