// optimizer.rates: what the learning rate is multiplied with, by role and by the weights' spectra.
#include "optimizers/rates/rate_method.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "optimizers/rates/power_law.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

struct Run {
  explicit Run(nlohmann::json fields, std::size_t model = 0)
      : store(small_models()[model].spec()->layout(), at::kCPU) {
    fields["gradient_clip"] = 0.0;
    fill_parameters(store);
    optimizer.emplace(optimizer_config(std::move(fields)), store);
  }
  void step(int draw, double share = 1.0) {
    fill_gradients(store, draw);
    optimizer->step(kRate * share);
  }
  // Of the sections of a role, in the last step; all must be the same.
  double factor(ParameterRole role) const {
    double found = -1.0;
    const auto& tensors = optimizer->partition().tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      for (std::size_t s = 0; s < tensors[i].sections.size(); ++s) {
        if (tensors[i].sections[s].role != role) continue;
        const double own = optimizer->rates()->tensors[i][s].rate.front();
        CHECK((found < 0.0 || own == found));
        found = own;
      }
    }
    return found;
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

nlohmann::json with_rates(const nlohmann::json& rates, const std::string& rule = "adamw") {
  return {{"rule", rule}, {"learning_rate", kRate}, {"rates", rates}};
}

}  // namespace

TEST_CASE("rates: Blockwise LR has its factors at the peak and one rate at the floor") {
  for (const std::string rule : {"adamw", "adam_mini"}) {
    Run run(with_rates({{"method", "blockwise_lr"}}, rule));
    run.step(0);
    CHECK(run.factor(ParameterRole::token_embedding) == 10.0);
    CHECK(run.factor(ParameterRole::query) == 8.0);
    CHECK(run.factor(ParameterRole::key) == 8.0);
    CHECK(run.factor(ParameterRole::mlp_in) == 6.0);
    CHECK(run.factor(ParameterRole::value) == 4.0);
    CHECK(run.factor(ParameterRole::norm) == 1.0);
    // Half way, 0.55 of the peak: 0.1 + 0.45 (8 - 0.1) / 0.9 of it.
    run.step(1, 0.55);
    CHECK(run.factor(ParameterRole::query) == Approx((0.1 + 0.5 * 7.9) / 0.55));
    run.step(2, 0.1);
    CHECK(run.factor(ParameterRole::query) == 1.0);
  }
}

TEST_CASE("rates: a factor is a rate of that size, decay included") {
  const nlohmann::json fields = with_rates({{"method", "by_role"}, {"query", 3.0}, {"norm", 0.0}});
  for (const std::string rule : {"adamw", "muon", "lomo"}) {
    auto options = fields;
    options["rule"] = rule;
    options["weight_decay"] = 0.1;
    options["no_decay"] = nlohmann::json::array();
    Run run(options), threefold({{"rule", rule},
                                 {"learning_rate", kRate},
                                 {"weight_decay", 0.1},
                                 {"no_decay", nlohmann::json::array()}});
    const auto start = run.store.parameters().clone();
    run.step(0);
    threefold.step(0, 3.0);
    const auto& tensors = run.optimizer->partition().tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto& parameter = run.store.layout().parameters()[i];
      for (const auto& section : tensors[i].sections) {
        const auto of = [&](const at::Tensor& flat) {
          const auto first = parameter.offset + section.row_begin * section.columns;
          return flat.narrow(0, first, section.size());
        };
        if (section.role == ParameterRole::query) {
          const auto error = (of(run.store.parameters()) - of(threefold.store.parameters())).abs();
          CHECK(error.max().item<double>() < 3e-7);  // a rounding of the factor and of the weight
        }
        if (section.role == ParameterRole::norm) {
          CHECK(at::equal(of(run.store.parameters()), of(start)));
        }
      }
    }
  }
}

TEST_CASE("rates: the exponent is Hill's, of a spectrum that is known") {
  // Squared singular values 2^0 .. 2^7: k = 4, the upper half's logarithms are 0 .. 3 ln 2 above.
  const auto values = at::exp2(at::arange(8, at::kDouble) / 2.0);
  const auto left = std::get<0>(at::linalg_qr(formula_values(1, 64).view({8, 8})));
  const auto right = std::get<0>(at::linalg_qr(formula_values(2, 144).view({12, 12})));
  const auto matrix = left.mul(values).mm(right.narrow(0, 0, 8));
  const double expected = 1.0 + 4.0 / (6.0 * std::log(2.0));
  CHECK(power_law_exponent(matrix) == Approx(expected).epsilon(1e-5));  // float32
  CHECK(power_law_exponent(matrix.t() * 7.0) == Approx(expected).epsilon(1e-5));
  CHECK_FALSE(std::isfinite(power_law_exponent(at::zeros({3, 3}))));
  CHECK_FALSE(std::isfinite(power_law_exponent(at::ones({1, 5}))));
  CHECK(factors_of_exponents({2.0, 5.0, 3.0, std::nan("")}, 1.0, 4.0) ==
        std::vector<double>{1.0, 4.0, 2.0, 1.0});
  CHECK(factors_of_exponents({2.0, 2.0}, 1.0, 4.0) == std::vector<double>{1.0, 1.0});
}

TEST_CASE("rates: llr ramps to factors between its bounds, stops, and resumes with the same bits") {
  const auto fields = with_rates({{"method", "llr"},
                                  {"lowest", 1.0},
                                  {"highest", 5.0},
                                  {"update_every", 4},
                                  {"ramp_steps", 2},
                                  {"until_step", 6}});
  Run through(fields), resumed(fields);
  std::vector<double> embedding;
  for (int draw = 0; draw < 3; ++draw) {
    through.step(draw);
    embedding.push_back(through.factor(ParameterRole::token_embedding));
  }
  CHECK(embedding == std::vector<double>{3.0, 5.0, 5.0});  // from 1 in two steps
  CHECK(through.factor(ParameterRole::norm) == 1.0);
  double least = 9.0, most = 0.0;
  const auto& tensors = through.optimizer->partition().tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!through.store.layout().parameters()[i].is_matrix()) continue;
    for (const auto& rates : through.optimizer->rates()->tensors[i]) {
      least = std::min(least, rates.rate.front());
      most = std::max(most, rates.rate.front());
    }
  }
  CHECK(least == Approx(1.0));
  CHECK(most == Approx(5.0));
  resumed.store.parameters().copy_(through.store.parameters());
  resumed.optimizer->load_state(3, through.optimizer->saved_state());
  for (int draw = 3; draw < 12; ++draw) {
    through.step(draw);
    resumed.step(draw);
    CHECK(at::equal(through.store.parameters(), resumed.store.parameters()));
  }
  auto state = through.optimizer->saved_state();
  CHECK(state.back().first.starts_with("rate_factors/"));
  state.pop_back();
  CHECK_THAT(input_error([&] { resumed.optimizer->load_state(3, state); }),
             Contains("no 'rate_factors/"));
}

TEST_CASE("rates: bounds that exclude each other are refused") {
  CHECK_THAT(input_error([] {
               optimizer_config(with_rates({{"method", "llr"}, {"lowest", 3.0}, {"highest", 2.0}}));
             }),
             Contains("lowest"));
  CHECK_THAT(
      input_error([] {
        optimizer_config(with_rates({{"method", "llr"}, {"update_every", 10}, {"ramp_steps", 20}}));
      }),
      Contains("ramp_steps"));
}
