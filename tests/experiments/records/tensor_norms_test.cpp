#include "experiments/records/tensor_norms.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/io/hdf5_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Approx;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> train(const std::string& setting) { return {"train", "--set", setting}; }

RunResult result_of(const SmallRunFolder& small) { return read_run(small.folder / "run/run.h5"); }

double root_of_squares(const std::vector<double>& values) {
  double sum = 0.0;
  for (const auto value : values) sum += value * value;
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("Norms: a row per due step and a column per tensor, which add up to the run's") {
  const SmallRunFolder small(12);
  REQUIRE(small.run(train("trainer.norms_every=5")).exit_code == 0);
  const auto run = result_of(small);
  REQUIRE(run.norms.rows.size() == 2);
  CHECK(run.norms.rows[0].step == 5);
  CHECK(run.norms.rows[1].step == 10);
  CHECK(run.norms.tensors.size() > 5);
  for (const auto& row : run.norms.rows) {
    REQUIRE(row.gradient.size() == run.norms.tensors.size());
    const auto& step = run.steps[static_cast<std::size_t>(row.step - 1)];
    // The kernel adds a chunk's squares in float lanes, and tensors cut the chunks elsewhere: some
    // units of 2^-24. Updates are the terms themselves, summed in another order.
    CHECK(root_of_squares(row.gradient) == Approx(step.gradient_norm).epsilon(2e-7));
    CHECK(root_of_squares(row.update) == Approx(step.update_norm).epsilon(1e-12));
    for (const auto weight : row.weight) CHECK(weight > 0.0);
    for (const auto rate : row.rate) CHECK(rate == step.learning_rate);
  }
  const auto file = Hdf5File::open_for_reading(small.folder / "run/run.h5");
  const auto width = std::ssize(run.norms.tensors);
  for (const auto* name : {"/norms/gradient", "/norms/update", "/norms/weight", "/norms/rate"}) {
    CHECK(file.array_shape(name) == std::vector<std::int64_t>{2, width});
  }
}

TEST_CASE("Norms: recording them changes no bit, and without the key there is no table") {
  const SmallRunFolder plain(8), recorded(8);
  REQUIRE(plain.run({"train"}).exit_code == 0);
  REQUIRE(recorded.run(train("trainer.norms_every=1")).exit_code == 0);
  const auto a = result_of(plain), b = result_of(recorded);
  CHECK(a.norms.rows.empty());
  CHECK(!Hdf5File::open_for_reading(plain.folder / "run/run.h5").has("/norms"));
  CHECK(b.norms.rows.size() == 8);
  REQUIRE(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    CHECK(a.steps[i].loss == b.steps[i].loss);
    CHECK(a.steps[i].update_norm == b.steps[i].update_norm);
  }
  CHECK(a.evaluations.back().loss == b.evaluations.back().loss);
}

TEST_CASE("Norms: a run that was killed goes on with the table of one that never stopped") {
  const SmallRunFolder whole(12), killed(12);
  const auto arguments = train("trainer.norms_every=2");
  const auto first = whole.run(arguments);
  REQUIRE(first.exit_code == 0);
  for (const auto& prefix : kills_during(first.seconds, {0.6, 0.8})) killed.run(arguments, prefix);
  REQUIRE(killed.run(arguments).exit_code == 0);
  const auto a = result_of(whole).norms, b = result_of(killed).norms;
  REQUIRE(b.rows.size() == a.rows.size());
  CHECK(a.tensors == b.tensors);
  for (std::size_t i = 0; i < a.rows.size(); ++i) {
    CHECK(a.rows[i].step == b.rows[i].step);
    CHECK(a.rows[i].gradient == b.rows[i].gradient);
    CHECK(a.rows[i].update == b.rows[i].update);
    CHECK(a.rows[i].weight == b.rows[i].weight);
    CHECK(a.rows[i].rate == b.rows[i].rate);
  }
}

TEST_CASE(
    "Norms: the rates of tensors are those of their roles, and of the rule that they fall to") {
  const SmallRunFolder small(4);
  auto words = train("trainer.norms_every=4");
  for (const auto* setting :
       {"optimizer.rule=muon", "optimizer.fallback.learning_rate=0.25", "schedule.name=constant",
        "schedule.warmup_steps=0", "optimizer.learning_rate=0.5", "optimizer.rates.method=by_role",
        "optimizer.rates.floor=0", "optimizer.rates.query=4",
        "optimizer.rates.token_embedding=8"}) {
    words.insert(words.end(), {"--set", setting});
  }
  const auto result = small.run(words);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto norms = result_of(small).norms;
  REQUIRE(norms.rows.size() == 1);
  for (std::size_t i = 0; i < norms.tensors.size(); ++i) {
    INFO(norms.tensors[i]);
    const auto& name = norms.tensors[i];
    if (name.ends_with("embed_tokens.weight")) CHECK(norms.rows[0].rate[i] == Approx(0.25 * 8));
    if (name.ends_with("up_proj.weight")) CHECK(norms.rows[0].rate[i] == Approx(0.5));
    if (name.ends_with("q_proj.weight")) CHECK(norms.rows[0].rate[i] == Approx(0.5 * 4));
  }
}

TEST_CASE("Norms: a run of before the rates goes on without them") {
  const SmallRunFolder small(8);
  auto words = train("trainer.norms_every=2");
  words.insert(words.end(), {"--set", "trainer.steps=4", "--set", "schedule.steps=8"});
  REQUIRE(small.run(words).exit_code == 0);
  auto file = Hdf5File::open_for_appending(small.folder / "run/run.h5");
  file.remove("/norms/rate");
  file.close();
  words[4] = "trainer.steps=8";
  REQUIRE(small.run(words).exit_code == 0);
  const auto norms = result_of(small).norms;
  REQUIRE(norms.rows.size() == 4);
  CHECK(norms.rows[3].rate.empty());
  CHECK(norms.rows[3].weight.size() == norms.tensors.size());
}

TEST_CASE("Norms: of tensors in plain operations and in the kernel") {
  Parameter block;
  block.name = "w";
  block.role = ParameterRole::query;
  block.shape = {3, 5};
  for (const auto type : {at::kFloat, at::kDouble}) {
    ParameterStore store(ParameterLayout({block}), at::kCPU, type);
    at::NoGradGuard no_grad;
    store.parameters().copy_(at::arange(15, at::kDouble));
    store.gradients().fill_(2.0);
    const auto norms = measure_norms(store, {9.0}, 4);
    CHECK(norms.step == 4);
    // 0^2 + ... + 14^2 = 1015; all of them are exact.
    CHECK(norms.weight == std::vector<double>{std::sqrt(1015.0)});
    CHECK(norms.gradient == std::vector<double>{std::sqrt(60.0)});
    CHECK(norms.update == std::vector<double>{3.0});
    CHECK_THROWS_AS(measure_norms(store, {}, 4), InvariantError);
  }
}

TEST_CASE("Norms: a damaged table is an error with its place") {
  const SmallRunFolder small(4);
  REQUIRE(small.run(train("trainer.norms_every=2")).exit_code == 0);
  const auto path = small.folder / "run/run.h5";
  auto file = Hdf5File::open_for_appending(path);
  file.remove("/norms/weight");
  file.create_real_rows("/norms/weight", 2, "1", "of another width");
  file.close();
  CHECK_THROWS_WITH(read_run(path), Contains("/norms/weight"));
}
