// Replays: what a recording is, and that stepping over one is what training does.
#include "optimizers/replay.hpp"

#include <ATen/ATen.h>

#include "core/io/atomic_file.hpp"
#include "core/io/safetensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Metadata = std::map<std::string, std::string>;

// Two steps of a matrix whose name has slashes and of a vector.
NamedTensors good_tensors() {
  return {{"param/a/w", at::ones({4, 3})},       {"param/b", at::ones({5})},
          {"grad/1/a/w", at::full({4, 3}, 0.5)}, {"grad/1/b", at::full({5}, 0.25)},
          {"grad/2/a/w", at::full({4, 3}, 1.5)}, {"grad/2/b", at::full({5}, -0.25)}};
}

struct File {
  TemporaryFolder folder;
  std::filesystem::path path = folder / "recorded.safetensors";
  File(const NamedTensors& tensors, const Metadata& metadata = {}) {
    write_safetensors(path, tensors, metadata);
  }
};

std::string error_of(const NamedTensors& tensors, const Metadata& metadata = {},
                     const Metadata& said = {}) {
  const File file(tensors, metadata);
  const auto error = input_error([&] { read_recording(file.path, said); });
  CHECK_THAT(error, Contains(file.path.string()));
  return error;
}

NamedTensors replaced(const std::string& key, const std::string& by, const at::Tensor& value) {
  auto tensors = good_tensors();
  for (auto& [name, tensor] : tensors) {
    if (name != key) continue;
    name = by;
    tensor = value;
  }
  return tensors;
}

}  // namespace

TEST_CASE("replay: steps are those of an optimizer that is driven by hand") {
  auto tensors = good_tensors();
  tensors.emplace_back("schedule", at::tensor({1.0, 0.5}, at::kDouble));
  const File file(tensors, {{"role/a/w", "mlp_in"}});
  const auto recording = read_recording(file.path);
  REQUIRE(recording.steps.size() == 2);
  const auto config =
      optimizer_config({{"rule", "adamw"}, {"weight_decay", 0.1}, {"gradient_clip", 0.5}});
  const auto outcome = replay(recording, config, 0);
  ParameterStore store(recording.layout, at::kCPU);
  store.parameters().fill_(1.0);
  Optimizer optimizer(config, store);
  for (int step = 0; step < 2; ++step) {
    store.gradient(0).fill_(step == 0 ? 0.5 : 1.5);
    store.gradient(1).fill_(step == 0 ? 0.25 : -0.25);
    optimizer.step(config.learning_rate * (step == 0 ? 1.0 : 0.5));
  }
  std::map<std::string, at::Tensor> found(outcome.tensors.begin(), outcome.tensors.end());
  CHECK(found.size() == 2 * 2 + 2 * 2);
  CHECK(at::equal(found.at("param/2/a/w"), store.master(0)));
  CHECK(at::equal(found.at("param/2/b"), store.master(1)));
  CHECK_FALSE(at::equal(found.at("param/1/b"), found.at("param/2/b")));
  for (const auto& [name, tensor] : optimizer.state().by_parameter()) {
    CHECK(at::equal(found.at("state/" + name), tensor));
  }
}

TEST_CASE("replay: roles, heads and layers are what is said, `other` and none where nothing is") {
  const File file(good_tensors(), {{"role/a/w", "query"}, {"heads/a/w", "2"}, {"layer/a/w", "0"}});
  const auto recorded = read_recording(file.path).layout.parameters();
  CHECK(recorded[0].layer == 0);
  CHECK(recorded[1].layer == -1);
  CHECK(read_recording(file.path, {{"layer/a/w", "17"}}).layout.parameters()[0].layer == 17);
  CHECK(recorded[0].role == ParameterRole::query);
  CHECK(recorded[0].heads.dim == 2);
  CHECK(recorded[1].role == ParameterRole::other);
  const auto said =
      read_recording(file.path, {{"role/a/w", "attention_output"}, {"heads/a/w", "3"}})
          .layout.parameters();
  CHECK(said[0].role == ParameterRole::attention_output);
  CHECK(said[0].heads.axis == Heads::Axis::columns);
  CHECK(said[0].heads.dim == 1);
}

TEST_CASE(
    "replay: other floating-point types are taken, and a step that is not finite is skipped") {
  auto tensors = good_tensors();
  for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  tensors[2].second[0][0] = std::nan("");
  const File file(tensors);
  const auto outcome = replay(read_recording(file.path), optimizer_config({{"rule", "lomo"}}), 0);
  CHECK(outcome.skipped == 1);
  CHECK(at::equal(outcome.tensors[0].second, at::ones({4, 3})));
  CHECK(outcome.update_norm > 0.0);
}

TEST_CASE("replay: what is no recording is refused by tensor") {
  const auto one = at::ones({1});
  CHECK_THAT(error_of({{"grad/1/w", one}}), Contains("no tensor is called param/NAME"));
  CHECK_THAT(error_of({{"param/w", one}}), Contains("no tensor is called grad/STEP/NAME"));
  CHECK_THAT(error_of({{"param/", one}}), Contains("'param/' has no name"));
  CHECK_THAT(error_of({{"param/w", at::ones({})}}),
             Contains("'param/w' is a number without a side: give it the shape [1]"));
  CHECK_THAT(error_of({{"param/w", at::ones({0, 3})}}), Contains("the shape [0, 3]"));
  CHECK_THAT(error_of(replaced("param/b", "param/b", at::ones({5}, at::kInt))),
             Contains("'param/b' is Int"));
  CHECK_THAT(error_of(replaced("grad/1/b", "grad/1/b", at::ones({4}))),
             Contains("'grad/1/b' has the shape [4], its parameter [5]"));
  CHECK_THAT(error_of(replaced("grad/1/b", "grad/1/c", at::ones({5}))), Contains("'param/c'"));
  CHECK_THAT(error_of(replaced("grad/1/b", "grad/3/b", at::ones({5}))),
             Contains("'grad/1/b' is missing"));
  CHECK_THAT(error_of(replaced("grad/1/b", "grad/900000/b", at::ones({5}))), Contains("missing"));
  for (const std::string step : {"0", "-1", "1x", "", "1000001", "99999999999999999999"}) {
    INFO(step);
    CHECK_THAT(error_of(replaced("grad/1/b", "grad/" + step + "/b", at::ones({5}))),
               Contains("the step is '" + step + "'"));
  }
  for (const std::string name : {"weights", "grad/b", "state/1/b"}) {
    CHECK_THAT(error_of(replaced("grad/1/b", name, at::ones({5}))), Contains("'" + name + "'"));
  }
}

TEST_CASE("replay: what a rule draws is what is recorded") {
  auto tensors = good_tensors();
  const auto with = [&](const NamedTensors& draws) {
    auto all = tensors;
    all.insert(all.end(), draws.begin(), draws.end());
    return all;
  };
  const auto replayed = [](const NamedTensors& all, const nlohmann::json& rule, int seed) {
    const File file(all);
    const auto outcome = replay(read_recording(file.path), optimizer_config(rule), seed);
    return std::map<std::string, at::Tensor>(outcome.tensors.begin(), outcome.tensors.end())
        .at("param/2/a/w");
  };
  // Two steps by the sign, 0.1 each, outside the column that is drawn.
  const nlohmann::json frugal{
      {"rule", "frugal"}, {"density", 0.34}, {"learning_rate", 0.1}, {"beta2", 0.99}};
  const auto columns = [](std::vector<std::int64_t> of) { return at::tensor(of); };
  const auto drawn = replayed(with({{"random/1/a/w", columns({2})}}), frugal, 7);
  CHECK(at::allclose(drawn.narrow(1, 0, 2), at::full({4, 2}, 0.8)));
  CHECK_FALSE(at::allclose(drawn.narrow(1, 2, 1), at::full({4, 1}, 0.8)));
  CHECK(at::equal(drawn, replayed(with({{"random/1/a/w", columns({2})}}), frugal, 8)));
  const nlohmann::json apollo{{"rule", "apollo"}, {"rank", 1}, {"learning_rate", 0.1}};
  const auto along = replayed(with({{"random/01/a/w", at::ones({1, 3}, at::kDouble)}}), apollo, 0);
  CHECK(at::equal(along, replayed(with({{"random/1/a/w", at::ones({1, 3})}}), apollo, 1)));
  CHECK_FALSE(at::equal(along, replayed(tensors, apollo, 1)));

  const auto refused = [&](const NamedTensors& draws, const nlohmann::json& rule) {
    return input_error([&] { replayed(with(draws), rule, 0); });
  };
  auto soon = apollo;
  soon["update_every"] = 1;
  const auto ones = at::ones({1, 3});
  CHECK_THAT(refused({{"random/1/a/w", at::ones({3, 1})}}, apollo),
             Contains("'random/1/a/w' has the shape [3, 1], the rule draws [1, 3]"));
  CHECK_THAT(refused({{"random/1/a/w", ones}}, soon),
             Contains("'random/2/a/w' is missing: the rule draws [1, 3]"));
  CHECK_THAT(refused({{"random/1/a/w", ones}, {"random/2/a/w", ones}}, apollo),
             Contains("'random/2/a/w' is not drawn in any step"));
  CHECK_THAT(refused({{"random/1/a/w", ones}, {"random/1/b", ones}}, apollo),
             Contains("'random/1/b' is not drawn in any step"));
  CHECK_THAT(refused({{"random/1/a/w", ones.to(at::kInt)}}, apollo), Contains("is Int"));
  CHECK_THAT(refused({{"random/1/a/w", ones / 0.0}}, apollo), Contains("not finite"));
  CHECK_THAT(refused({{"random/1/a/w", at::ones({1})}}, frugal), Contains("is Float"));
  CHECK_THAT(refused({{"random/1/a/w", columns({3})}}, frugal), Contains("0 to 2 are allowed"));
  CHECK_THAT(refused({{"random/1/a/w", columns({-1})}}, frugal), Contains("has -1 to -1"));
  auto twice = frugal;
  twice["density"] = 0.67;
  CHECK_THAT(refused({{"random/1/a/w", columns({1, 1})}}, twice), Contains("has a number twice"));
  CHECK_THAT(refused({{"random/1/c", ones}}, apollo), Contains("'param/c'"));
  CHECK_THAT(refused({{"random/0/a/w", ones}}, apollo), Contains("the draw is '0'"));
  CHECK_THAT(refused({{"random/a", ones}}, apollo), Contains("'random/a' is not random/DRAW/NAME"));
  CHECK_THAT(refused({{"random/1/a/w", ones}, {"random/01/a/w", ones}}, apollo),
             Contains("is there twice"));
}

TEST_CASE("replay: estimates of the curvature are taken where a rule wants them") {
  const auto replayed = [](const NamedTensors& more, nlohmann::json rule) {
    auto all = good_tensors();
    all.insert(all.end(), more.begin(), more.end());
    const File file(all);
    rule["learning_rate"] = 0.1;
    const auto outcome = replay(read_recording(file.path), optimizer_config(rule), 0);
    return std::map<std::string, at::Tensor>(outcome.tensors.begin(), outcome.tensors.end());
  };
  const NamedTensors given{{"curvature/1/a/w", at::full({4, 3}, 50.0)},
                           {"curvature/1/b", at::full({5}, 0.0)}};
  const nlohmann::json sophia{
      {"rule", "sophia_g"}, {"beta1", 0.5}, {"beta2", 0.5}, {"rho", 0.05}, {"gradient_clip", 0.0}};
  const auto found = replayed(given, sophia);
  // h = 25, m = 0.25 and then 0.875: steps of 0.1 m / 1.25.
  CHECK(at::allclose(found.at("state/hessian/a/w"), at::full({4, 3}, 25.0)));
  CHECK(at::allclose(found.at("param/1/a/w"), at::full({4, 3}, 1.0 - 0.1 * 0.2)));
  CHECK(at::allclose(found.at("param/2/a/w"), at::full({4, 3}, 1.0 - 0.1 * 0.9)));
  // Where h is 0, the sign of m = 0.125 and then -0.0625.
  CHECK(at::allclose(found.at("param/1/b"), at::full({5}, 0.9)));
  CHECK(at::allclose(found.at("param/2/b"), at::full({5}, 1.0)));

  const auto refused = [&](const NamedTensors& more, const nlohmann::json& rule) {
    return input_error([&] { replayed(more, rule); });
  };
  CHECK_THAT(refused({}, sophia), Contains("'curvature/1/a/w' is missing"));
  CHECK_THAT(refused({given[0]}, sophia), Contains("'curvature/1/b' is missing"));
  CHECK_THAT(refused(given, {{"rule", "adamw"}}),
             Contains("'curvature/1/a/w' is taken by no rule"));
  auto late = given;
  late.emplace_back("curvature/2/b", at::ones({5}));
  CHECK_THAT(refused(late, sophia), Contains("'curvature/2/b' is taken by no rule"));
  CHECK_THAT(refused({{"curvature/1/a/w", at::full({4, 3}, -1.0)}, given[1]}, sophia),
             Contains("'curvature/1/a/w' has a negative value"));
  CHECK_THAT(refused({{"curvature/1/b", at::ones({4})}}, sophia), Contains("has the shape [4]"));
  CHECK_THAT(refused({{"curvature/3/b", at::ones({5})}}, sophia), Contains("'grad/3/a/w'"));
}

TEST_CASE("replay: a schedule, roles and heads that do not fit are refused") {
  const auto with_schedule = [](const at::Tensor& values) {
    auto tensors = good_tensors();
    tensors.emplace_back("schedule", values);
    return tensors;
  };
  CHECK_THAT(error_of(with_schedule(at::ones({3}))), Contains("has 3 values, there are 2 steps"));
  CHECK_THAT(error_of(with_schedule(at::ones({1, 2}))), Contains("2 axes"));
  CHECK_THAT(error_of(with_schedule(at::tensor({1.0, -0.5}))), Contains("-0.5 at step 2"));
  CHECK_THAT(error_of(with_schedule(at::tensor({1.0, std::nan("")}))), Contains("nan at step 2"));
  CHECK_THAT(error_of(good_tensors(), {{"role/a/w", "querry"}}), Contains("'querry'"));
  CHECK_THAT(error_of(good_tensors(), {{"role/c", "query"}}), Contains("'param/c'"));
  CHECK_THAT(error_of(good_tensors(), {}, {{"heads/a/w", "3"}}),
             Contains("'3', a number that divides its 4 rows"));
  CHECK_THAT(error_of(good_tensors(), {}, {{"heads/b", "0"}}), Contains("'0'"));
  CHECK_THAT(error_of(good_tensors(), {{"layer/b", "-1"}}), Contains("layer of 'b' is '-1'"));
  CHECK_THAT(error_of(good_tensors(), {}, {{"layer/b", "1000000"}}), Contains("0 to 999999"));
  CHECK_THAT(error_of(good_tensors(), {{"layer/c", "1"}}), Contains("'param/c'"));
  const TemporaryFolder folder;
  write_file_atomically(folder / "text", "no tensors here");
  CHECK_THAT(input_error([&] { read_recording(folder / "text"); }),
             Contains("not a valid safetensors file"));
}
