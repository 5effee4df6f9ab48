// A gradient that is not finite while gradients are released: its tensor misses that step, whatever
// the rule was to do at it. What a rule makes at its first step, or refreshes at others, it makes
// later.
#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

class Run {
 public:
  explicit Run(const nlohmann::json& fields)
      : store_(small_models()[4].spec()->layout(), at::kCPU, at::kFloat, std::nullopt,
               Gradients::released) {
    fill_parameters(store_);
    optimizer_.emplace(optimizer_config(fields), store_);
  }

  void step(int draw, bool broken = false) {
    const auto& parameters = store_.layout().parameters();
    optimizer_->begin_step(1e-2);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto values = formula_values(std::uint32_t(40 * draw + int(i)), parameters[i].size());
      auto g = values.to(at::kFloat).view(parameters[i].shape).contiguous();
      if (broken) g.view({-1})[0] = std::nan("");
      optimizer_->update(i, g);
    }
    optimizer_->end_step();
  }

  // State of this use, or all.
  std::vector<at::Tensor> state(std::optional<StateUse> use = {}) const {
    std::vector<at::Tensor> found;
    const auto& parameters = store_.layout().parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto specs = optimizer_->rules().of(i).rule->state(
          parameters[i], optimizer_->partition().tensors()[i]);
      for (std::size_t k = 0; k < specs.size(); ++k) {
        if (use && specs[k].use != *use) continue;
        found.push_back(optimizer_->state().of(i).load(k).clone());
      }
    }
    return found;
  }
  at::Tensor parameters() const { return store_.parameters().clone(); }
  const Optimizer& optimizer() const { return *optimizer_; }

 private:
  ParameterStore store_;
  std::optional<Optimizer> optimizer_;
};

bool rests(const std::string& rule, const Optimizer& optimizer, std::size_t parameter) {
  return rule == "badam" && optimizer.squared_updates()[parameter] == 0.0;
}

}  // namespace

TEST_CASE(
    "skipped gradients: after a first one that is not finite every rule starts all the same") {
  for (const auto& rule : update_rules().names()) {
    if (rule == "sophia_g") continue;  // refuses gradients that are released
    INFO(rule);
    Run run({{"rule", rule}, {"gradient_clip", 0.0}});
    const auto start = run.parameters();
    run.step(0, true);
    CHECK(at::equal(run.parameters(), start));
    for (int draw = 1; draw < 4; ++draw) run.step(draw);
    CHECK(at::isfinite(run.parameters()).all().item<bool>());
    for (const auto& basis : run.state(StateUse::basis)) CHECK(basis.any().item<bool>());
    for (const auto& values : run.state()) CHECK(at::isfinite(values).all().item<bool>());
    const auto squares = run.optimizer().squared_updates();
    for (std::size_t i = 0; i < squares.size(); ++i) {
      CHECK((squares[i] > 0.0 || rests(rule, run.optimizer(), i)));
    }
  }
}

TEST_CASE("skipped gradients: Shampoo's roots are made at the first step that happens") {
  Run run({{"rule", "shampoo"}, {"update_every", 5}, {"gradient_clip", 0.0}});
  run.step(0, true);
  run.step(1);
  for (const auto& values : run.state()) CHECK(values.any().item<bool>());
  for (const double square : run.optimizer().squared_updates()) CHECK(square > 0.0);
}

TEST_CASE("skipped gradients: a basis whose refreshment is missed stays until the next") {
  for (const std::string rule : {"galore", "fira", "soap"}) {
    INFO(rule);
    // GaLore and Fira refresh at steps 1, 3 and 5, SOAP after steps 3, 5 and 7.
    const auto every = rule == "soap" ? "precondition_every" : "update_every";
    nlohmann::json fields = {{"rule", rule}, {every, 2}, {"gradient_clip", 0.0}};
    if (rule != "soap") fields["rank"] = 2;
    Run run(fields);
    for (int step = 1; step < 3; ++step) run.step(step);
    const auto first = run.state(StateUse::basis);
    run.step(3, true);
    run.step(4);
    const auto kept = run.state(StateUse::basis);
    run.step(5);
    const auto second = run.state(StateUse::basis);
    REQUIRE_FALSE(first.empty());
    for (std::size_t k = 0; k < first.size(); ++k) {
      CHECK(at::equal(kept[k], first[k]));
      CHECK_FALSE(at::equal(second[k], first[k]));
    }
    CHECK(at::isfinite(run.parameters()).all().item<bool>());
  }
}
