// Matrices of one shape that step together, against the same steps tensor by tensor.
#include <algorithm>

#include "core/memory/meta_memory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

std::vector<SmallModel> deep_models() {
  auto models = small_models();
  std::vector<SmallModel> deep;
  for (auto model : {models[0], models[2], models[4]}) {
    model.fields["n_layer"] = 3;
    deep.push_back(std::move(model));
  }
  return deep;
}

nlohmann::json decaying(const std::string& rule) {
  auto fields = smooth_options(rule);
  fields["weight_decay"] = 0.1;
  if (rule == "soap") fields["precondition_every"] = 2;
  return fields;
}

struct Run {
  Run(const SmallModel& model, const nlohmann::json& fields)
      : store(model.spec()->layout(), at::kCPU) {
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store);
  }
  StepReport step(int draw) {
    fill_gradients(store, draw);
    return optimizer->step(kRate);
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

// Batched products sum in another order: units in the last place of float32, which roots, the
// iterations and the eigenvectors of small matrices multiply by up to a hundred.
constexpr double kTolerance = 2e-5;

void check_agrees(const SmallModel& model, const nlohmann::json& fields) {
  Run stacked(model, fields), apart(model, fields);
  REQUIRE(stacked.optimizer->use_stacked_steps());
  for (int draw = 0; draw < 5; ++draw) {
    const auto report = stacked.step(draw), expected = apart.step(draw);
    CHECK(report.gradient_norm == expected.gradient_norm);
    CHECK(report.update_norm == Approx(expected.update_norm).epsilon(kTolerance));
    const auto squares = stacked.optimizer->squared_updates();
    const auto others = apart.optimizer->squared_updates();
    for (std::size_t i = 0; i < squares.size(); ++i) {
      INFO(stacked.store.layout().parameters()[i].name);
      CHECK(squares[i] == Approx(others[i]).epsilon(1e-3).margin(1e-12));
    }
  }
  CHECK(difference(stacked.store.parameters(), apart.store.parameters()) < kTolerance);
  const auto state = stacked.optimizer->state().by_parameter();
  const auto expected = apart.optimizer->state().by_parameter();
  REQUIRE(state.size() == expected.size());
  for (std::size_t k = 0; k < state.size(); ++k) {
    INFO(state[k].first);
    CHECK(difference(state[k].second, expected[k].second) < 1e-3);
  }
}

bool takes_stacks(const std::string& rule) {
  return optimizer_config({{"rule", rule}}).spec->build()->traits({}).stacks;
}

}  // namespace

TEST_CASE("stacked steps: every rule that takes stacks makes its own steps of them") {
  std::vector<std::string> rules;
  for (const auto& entry : update_rules()) {
    if (takes_stacks(entry.name)) rules.push_back(entry.name);
  }
  for (const std::string rule : {"muon", "normuon", "rmnp", "scale", "shampoo", "soap"}) {
    CHECK(std::ranges::count(rules, rule) == 1);
  }
  for (const auto& rule : rules) {
    for (const auto& model : deep_models()) {
      INFO(rule << " on " << model.name);
      check_agrees(model, decaying(rule));
    }
  }
}

TEST_CASE("stacked steps: sides that are not preconditioned, and roots that are kept") {
  const auto model = deep_models()[0];
  for (const std::string rule : {"shampoo", "soap"}) {
    INFO(rule);
    auto fields = decaying(rule);
    fields["max_side"] = 16;
    check_agrees(model, fields);
  }
  auto kept = decaying("shampoo");
  kept["update_every"] = 2;
  check_agrees(model, kept);
}

TEST_CASE("stacked steps: not of single matrices, rates of blocks, other rules or state in codes") {
  const auto takes = [](const SmallModel& model, const nlohmann::json& fields) {
    return Run(model, fields).optimizer->use_stacked_steps();
  };
  const auto model = deep_models()[0];
  CHECK(takes(model, {{"rule", "muon"}}));
  auto single = model;
  single.fields["n_layer"] = 1;
  CHECK(!takes(single, {{"rule", "muon"}}));
  CHECK(!takes(model, {{"rule", "adamw"}}));
  CHECK(!takes(model, {{"rule", "muon"}, {"hyperball", true}}));
  CHECK(!takes(model, {{"rule", "muon"}, {"rates", {{"method", "llr"}}}}));
  CHECK(!takes(model, {{"rule", "muon"}, {"state", {{"first_moments", "bf16"}, {"smallest", 1}}}}));
}

TEST_CASE("stacked steps: a gradient that is not finite changes nothing") {
  Run run(deep_models()[0], {{"rule", "muon"}});
  REQUIRE(run.optimizer->use_stacked_steps());
  run.step(0);
  const auto before = run.store.parameters().clone();
  fill_gradients(run.store, 1);
  run.store.gradients()[3].fill_(std::numeric_limits<float>::infinity());
  CHECK(run.optimizer->step(kRate).update_norm == 0.0);
  CHECK(at::equal(run.store.parameters(), before));
  CHECK(run.optimizer->steps() == 1);
}

// The stack is rehearsed once, with what its copies take.
TEST_CASE("stacked steps: on a GPU their memory is planned") {
  const auto model = deep_models()[0];
  MetaMemory memory;
  ParameterStore store(model.spec()->layout(), at::kMeta);
  Optimizer optimizer(optimizer_config({{"rule", "muon"}}), store);
  const auto needed = [&](std::size_t i, at::DeviceType device) {
    memory.reset_peak();
    const auto before = memory.allocated();
    optimizer.rehearse_update(i, store.gradient(i), device);
    return memory.peak() - before;
  };
  std::vector<std::size_t> alike;  // the wide matrices of the MLPs
  const auto& parameters = store.layout().parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].shape == std::vector<std::int64_t>{32, 8}) alike.push_back(i);
  }
  REQUIRE(alike.size() == 3);
  const auto one = needed(alike[0], at::kCPU);
  const std::int64_t copies = 3 * 3 * 32 * 8 * 4;  // of weight, gradient and momentum
  CHECK(needed(alike[0], at::kCUDA) >= copies + 2 * one);
  CHECK(needed(alike[1], at::kCUDA) == 0);
  CHECK(needed(alike[2], at::kCUDA) == 0);
}
