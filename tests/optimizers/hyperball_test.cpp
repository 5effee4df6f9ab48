// The option `hyperball` on every rule of whole matrices.
#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

ParameterLayout matrices() {
  const auto matrix = [](const std::string& name, std::vector<std::int64_t> shape) {
    Parameter made;
    made.name = name;
    made.shape = std::move(shape);
    return made;
  };
  return ParameterLayout({matrix("wide", {6, 16}), matrix("tall", {20, 4}), matrix("zero", {4, 4}),
                          matrix("vector", {7})});
}

struct Run {
  explicit Run(nlohmann::json fields) : store(matrices(), at::kCPU) {
    fields["gradient_clip"] = 0.0;
    fill_parameters(store);
    const at::NoGradGuard no_grad;
    store.tensors()[2].zero_();
    optimizer.emplace(optimizer_config(std::move(fields)), store, 5);
  }
  void step(int draw) {
    fill_gradients(store, draw);
    optimizer->step(kRate);
  }
  at::Tensor of(std::size_t i) const { return store.tensors()[i].detach().to(at::kDouble); }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

// Options of a rule of whole matrices, for each.
template <typename Check>
void for_matrix_rules(Check check) {
  int count = 0;
  for (const auto& entry : update_rules()) {
    if (entry.make()->fallback() == nullptr) continue;
    INFO(entry.name);
    check(smooth_options(entry.name));
    ++count;
  }
  CHECK(count >= 10);
}

nlohmann::json with(nlohmann::json fields, const nlohmann::json& more) {
  fields.update(more);
  return fields;
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return ((a * b).sum() / (a.norm() * b.norm())).item<double>();
}

}  // namespace

TEST_CASE("hyperball: a matrix keeps its norm, turns by the rate, and zeros stay") {
  for_matrix_rules([](const nlohmann::json& fields) {
    Run run(with(fields, {{"hyperball", true}, {"weight_decay", 0.3}}));
    const std::vector<at::Tensor> start = {run.of(0), run.of(1)};
    for (int draw = 0; draw < 4; ++draw) {
      const std::vector<at::Tensor> before = {run.of(0), run.of(1)};
      run.step(draw);
      for (std::size_t i = 0; i < 2; ++i) {
        // A step of length `rate` from the sphere turns by at most its arc sine, at least half of
        // it unless it points to or from the origin; SOAP's first one makes no move.
        const double turned = ((run.of(i) - before[i]).norm() / before[i].norm()).item<double>();
        CHECK(turned < 1.01 * kRate);
        if (draw > 0) CHECK(turned > 0.1 * kRate);
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      // A rounding of float32 for every step.
      CHECK(run.of(i).norm().item<double>() ==
            Approx(start[i].norm().item<double>()).epsilon(4 * 1.2e-7));
    }
    CHECK(run.of(2).abs().max().item<double>() == 0.0);
  });
}

TEST_CASE("hyperball: the direction is the rule's own, and the fallback's step is not touched") {
  for_matrix_rules([](const nlohmann::json& fields) {
    Run plain(fields), ball(with(fields, {{"hyperball", true}}));
    const auto start = plain.of(0);
    for (auto* each : {&plain, &ball}) {
      each->step(0);
      if (fields["rule"] == "soap") each->step(1);  // the first makes its bases
    }
    // The rule's step less its part along the weights, which the projection takes away.
    const auto along = [&](const at::Tensor& step) {
      return step - start * ((step * start).sum() / start.square().sum());
    };
    CHECK(cosine(along(ball.of(0) - start), along(plain.of(0) - start)) > 1.0 - 1e-4);
    CHECK(at::equal(ball.of(3), plain.of(3)));
  });
}

TEST_CASE("hyperball: saved state continues bit for bit, and a zero gradient moves nothing") {
  for_matrix_rules([](const nlohmann::json& fields) {
    const auto options = with(fields, {{"hyperball", true}});
    Run through(options), resumed(options);
    for (int draw = 0; draw < 2; ++draw) through.step(draw);
    const at::NoGradGuard no_grad;
    resumed.store.parameters().copy_(through.store.parameters());
    resumed.optimizer->load_state(2, through.optimizer->state().by_parameter());
    for (int draw = 2; draw < 4; ++draw) {
      through.step(draw);
      resumed.step(draw);
    }
    CHECK(at::equal(through.store.parameters(), resumed.store.parameters()));

    Run still(options);
    const auto before = still.store.parameters().clone();
    still.store.gradients().zero_();
    still.optimizer->step(kRate);
    CHECK(at::equal(still.store.parameters(), before));
  });
}

TEST_CASE("hyperball: a rule forgets its state when it does by itself") {
  int forgotten = 0;
  for_matrix_rules([&](const nlohmann::json& fields) {
    const auto plain = optimizer_config(fields).spec->build();
    const auto ball = optimizer_config(with(fields, {{"hyperball", true}})).spec->build();
    kernels::Workspace space;
    for (std::int64_t step = 1; step <= 1000; ++step) {
      const StepScope scope{step, kRate, 1.0, 0, space};
      REQUIRE(ball->forgets(scope) == plain->forgets(scope));
      forgotten += step > 1 && plain->forgets(scope) ? 1 : 0;
    }
  });
  CHECK(forgotten > 0);
}

TEST_CASE("hyperball: rules of single elements have no such option") {
  CHECK_THROWS_WITH(optimizer_config({{"rule", "adamw"}, {"hyperball", true}}),
                    Contains("hyperball"));
}
