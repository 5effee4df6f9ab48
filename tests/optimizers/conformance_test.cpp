// What every registered rule keeps. A new rule is tested by its line in registry.inc.
#include <torch/nn/utils/clip_grad.h>

#include "core/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

struct Setup {
  explicit Setup(const std::string& rule, nlohmann::json fields = nlohmann::json::object())
      : store(small_models()[4].spec()->layout(), at::kCPU) {
    fields["rule"] = rule;
    if (rule == "fp8_adamw")
      fields["master"] = "float32";  // fp8_adamw_test.cpp: float16's rounding
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store);
  }
  // What comes before a step's gradient.
  void learn_curvature(int draw) {
    if (!optimizer->wants_curvature()) return;
    fill_gradients(store, 100 + draw);
    store.gradients().square_();
    optimizer->learn_curvature();
  }
  StepReport step(int draw) {
    learn_curvature(draw);
    fill_gradients(store, draw);
    return optimizer->step(kRate);
  }
  at::Tensor parameters() const { return store.parameters().clone(); }
  std::vector<std::pair<std::string, at::Tensor>> state() const {
    std::vector<std::pair<std::string, at::Tensor>> copy;
    for (const auto& [name, tensor] : optimizer->state().by_parameter())
      copy.emplace_back(name, tensor.clone());
    return copy;
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

bool same(const std::vector<std::pair<std::string, at::Tensor>>& a,
          const std::vector<std::pair<std::string, at::Tensor>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first || !at::equal(a[i].second, b[i].second)) return false;
  }
  return true;
}

// What Muon and GaLore take.
std::vector<Parameter> hidden_matrices(const ParameterLayout& layout) {
  std::vector<Parameter> hidden;
  for (const auto& parameter : layout.parameters()) {
    const bool outside = parameter.role == ParameterRole::token_embedding ||
                         parameter.role == ParameterRole::position_embedding ||
                         parameter.role == ParameterRole::lm_head;
    if (parameter.is_matrix() && !outside) hidden.push_back(parameter);
  }
  return hidden;
}

std::int64_t elements(const std::vector<Parameter>& blocks) {
  std::int64_t sum = 0;
  for (const auto& block : blocks) sum += block.size();
  return sum;
}

// A network moves weights without a gradient, too: weights and time are inputs of it.
bool is_learned(const std::string& rule) { return rule == "adafactor_mlp" || rule == "mlp_lopt"; }

template <typename Check>
void for_every_rule(Check check) {
  REQUIRE(update_rules().size() >= 3);
  for (const auto& entry : update_rules()) {
    INFO(entry.name);
    check(entry.name);
  }
}

}  // namespace

TEST_CASE("A rule has one name, a sentence about itself and copies by value") {
  for_every_rule([](const std::string& name) {
    const auto spec = update_rules().make(name);
    CHECK(spec->name() == name);
    CHECK_FALSE(spec->doc().empty());
    CHECK(spec->clone()->name() == name);
    CHECK(spec->uses_partition() == (name == "adam_mini" || name == "blockwise_sgd"));
  });
  CHECK_THAT(input_error([] { update_rules().make("adam-mini"); }), Contains("'adam-mini'"));
}

TEST_CASE("A zero gradient without decay changes nothing") {
  for_every_rule([](const std::string& name) {
    if (is_learned(name)) return;
    Setup setup(name);
    const auto before = setup.parameters();
    const auto report = setup.optimizer->step(kRate);
    CHECK(at::equal(setup.parameters(), before));
    CHECK(report.gradient_norm == 0.0);
    CHECK(report.update_norm == 0.0);
    CHECK(setup.optimizer->steps() == 1);
  });
}

TEST_CASE("Decay alone scales the weights by 1 - lr wd, but not the exempt roles") {
  for_every_rule([](const std::string& name) {
    if (is_learned(name)) return;
    Setup setup(name, {{"weight_decay", 0.25}, {"no_decay", {"norm", "query"}}});
    const auto before = setup.parameters();
    const auto report = setup.optimizer->step(kRate);
    const auto after = setup.parameters();
    std::size_t number = 0;
    for (const auto& parameter : setup.store.layout().parameters()) {
      INFO(parameter.name);
      const bool exempt =
          parameter.role == ParameterRole::norm || parameter.role == ParameterRole::query;
      const auto old = before.narrow(0, parameter.offset, parameter.size());
      // The decay of AdaLomo and of Adafactor as published is relative to the size of the weights,
      // as the step is.
      const double rms = old.to(at::kDouble).square().mean().sqrt().item<double>();
      const bool relative = name == "adalomo" || name == "adafactor_original";
      const double rate = relative ? kRate * rms : kRate;
      // SOAP's first step makes its bases and changes no matrix.
      const auto& rules = setup.optimizer->rules();
      const auto& member = rules.of(number++);
      // BAdam's first turn is the last layer's.
      const bool still = (name == "soap" && &member == &rules.members().front()) ||
                         (name == "badam" && parameter.layer != 1);
      const float factor = exempt || still ? 1.0f : static_cast<float>(1.0 - rate * 0.25);
      CHECK(at::equal(after.narrow(0, parameter.offset, parameter.size()), old * factor));
    }
    CHECK(report.update_norm ==
          Approx((after - before).to(at::kDouble).norm().item<double>()).epsilon(1e-6));
  });
}

TEST_CASE("State bytes are the declared ones") {
  for_every_rule([](const std::string& name) {
    Setup setup(name);
    setup.step(0);  // Gefen says only then how much it keeps
    const std::int64_t n = setup.store.layout().size();
    const std::int64_t values = setup.optimizer->partition().state_size();
    std::int64_t saved = 0, total = 0;
    for (const auto& [kind, tensor] : setup.state()) saved += std::int64_t(tensor.nbytes());
    for (const auto& [kind, bytes] : setup.optimizer->state().bytes()) total += bytes;
    CHECK(total == saved);
    if (name == "adamw") CHECK(total == 8 * n);
    if (name == "adam_mini") CHECK(total == 4 * n + 4 * values);
    if (name == "sgd_momentum" || name == "blockwise_sgd") CHECK(total == 4 * n);
    if (name == "lomo") CHECK(total == 0);
    const auto hidden = hidden_matrices(setup.store.layout());
    if (name == "muon") CHECK(total == 8 * n - 4 * elements(hidden));
    if (name != "galore") return;
    // 4 (2 r max + r min) beside Adam's 8 of all others; r is at most the smaller side.
    std::int64_t expected = 8 * (n - elements(hidden));
    for (const auto& block : hidden) {
      const auto small = std::min(block.rows(), block.columns());
      const auto rank = std::min<std::int64_t>(128, small);
      expected += 4 * (2 * rank * std::max(block.rows(), block.columns()) + rank * small);
    }
    CHECK(total == expected);
  });
}

TEST_CASE("Saved state continues bit for bit") {
  for_every_rule([](const std::string& name) {
    Setup through(name, {{"weight_decay", 0.1}}), resumed(name, {{"weight_decay", 0.1}});
    for (int draw = 0; draw < 3; ++draw) through.step(draw);
    const auto parameters = through.parameters();
    const auto state = through.state();
    resumed.store.parameters().copy_(parameters);
    resumed.optimizer->load_state(through.optimizer->steps(), state);
    for (int draw = 3; draw < 6; ++draw) {
      through.step(draw);
      resumed.step(draw);
    }
    CHECK(at::equal(through.parameters(), resumed.parameters()));
    CHECK(same(through.state(), resumed.state()));
    CHECK(resumed.optimizer->steps() == 6);
  });
}

TEST_CASE("State that does not fit is refused by name and changes nothing") {
  for_every_rule([](const std::string& name) {
    Setup setup(name);
    setup.step(0);
    const auto before = setup.state();
    if (before.empty()) return;
    const auto refused = [&](auto damage, const std::string& text) {
      auto state = setup.state();
      for (auto& [kind, tensor] : state) tensor.fill_(7.0);
      damage(state);
      CHECK_THAT(input_error([&] { setup.optimizer->load_state(9, state); }), Contains(text));
      CHECK(same(setup.state(), before));
      CHECK(setup.optimizer->steps() == 1);
    };
    const auto last = before.back().first;
    refused([](auto& state) { state.pop_back(); }, "no '" + last + "'");
    refused(
        [](auto& state) {
          state.back().second = at::zeros({12345}, state.back().second.options());
        },
        "'" + last + "' has 12345 values");
    refused([](auto& state) { state.back().second = state.back().second.to(at::kDouble); },
            "'" + last + "' is Double");
  });
}

TEST_CASE("A gradient that is not finite changes nothing") {
  for_every_rule([](const std::string& name) {
    for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
      Setup setup(name);
      setup.step(0);
      const auto parameters = setup.parameters();
      const auto state = setup.state();
      fill_gradients(setup.store, 1);
      setup.store.gradients()[setup.store.layout().size() - 1] = bad;
      const auto report = setup.optimizer->step(kRate);
      CHECK_FALSE(std::isfinite(report.gradient_norm));
      CHECK(at::equal(setup.parameters(), parameters));
      CHECK(same(setup.state(), state));
      CHECK(setup.optimizer->steps() == 1);
    }
  });
}

TEST_CASE("Clipping is torch.nn.utils.clip_grad_norm_") {
  for_every_rule([](const std::string& name) {
    const auto fields = [&](double clip) {
      auto options = smooth_options(name);
      options["gradient_clip"] = clip;
      return options;
    };
    Setup clipping(name, fields(0.5)), by_torch(name, fields(0.0));
    Setup unclipped(name, fields(0.0)), roomy(name, fields(1e6));
    for (int draw = 0; draw < 3; ++draw) {
      const auto report = clipping.step(draw);
      by_torch.learn_curvature(draw);
      fill_gradients(by_torch.store, draw);
      const double norm = torch::nn::utils::clip_grad_norm_(by_torch.store.tensors(), 0.5);
      by_torch.optimizer->step(kRate);
      CHECK(report.gradient_norm == Approx(norm).epsilon(1e-6));
      CHECK(norm > 1.0);
      unclipped.step(draw);
      roomy.step(draw);
    }
    // Scaling as the gradient is read or before: three steps' roundings, 6e-8 each, of a weight and
    // a few more of an update.
    const auto expected = by_torch.parameters();
    const auto error = (clipping.parameters() - expected).abs() / (expected.abs() + kRate);
    // Rules of matrices have products, and GaLore a decomposition, between gradient and step.
    // CAME divides by how far a step is from its average, which may be little; eigenvectors of
    // SOAP's nearly equal eigenvalues turn into each other.
    // A learned optimizer's step is the difference of larger products.
    const double of_rule = name == "came" || is_learned(name)   ? 10.0
                           : name == "soap" || name == "ada_pm" ? 1000.0
                                                                : 1.0;
    const bool of_matrices = update_rules().make(name)->fallback() != nullptr || name == "ada_pm";
    const double magnified = std::max(of_rule, of_matrices ? 100.0 : 1.0);
    CHECK(error.max().item<double>() < 3 * 3e-7 * magnified);
    CHECK(at::equal(unclipped.parameters(), roomy.parameters()));
  });
}

TEST_CASE("The reported norms are those of gradient and update") {
  for_every_rule([](const std::string& name) {
    Setup setup(name, {{"weight_decay", 0.1}});
    for (int draw = 0; draw < 3; ++draw) {
      const auto before = setup.parameters();
      const auto report = setup.step(draw);
      const auto update = (setup.parameters() - before).to(at::kDouble).norm().item<double>();
      const auto gradient = setup.store.gradients().to(at::kDouble).norm().item<double>();
      CHECK(report.update_norm == Approx(update).epsilon(1e-6));
      CHECK(report.gradient_norm == Approx(gradient).epsilon(1e-6));
    }
  });
}

TEST_CASE("The loss of a small model falls under every rule") {
  const auto model = small_models()[7];
  auto batch = small_batch(model);
  batch.inputs = batch.inputs.to(at::kFloat);
  for_every_rule([&](const std::string& name) {
    ParameterStore store(model.spec()->layout(), at::kCPU);
    store.initialize(1);
    const auto net = model.spec()->build(store);
    nlohmann::json fields = {{"rule", name}};
    if (name == "badam") fields["switch_every"] = 5;  // every layer has its turns
    Optimizer optimizer(optimizer_config(fields), store);
    const auto step = [&] {
      store.zero_gradients();
      ForwardContext context;
      const auto loss = net->loss(batch, context);
      backward(loss);
      optimizer.step(is_learned(name) ? 1e-3 : 0.05);  // at which they were trained
      return loss.item<double>();
    };
    const double first = step();
    double last = first;
    for (int i = 0; i < 100; ++i) last = step();
    // Four examples, 82 parameters: any optimizer fits them, an average of gradients slowest.
    CHECK(last < 0.2 * first);
  });
}

TEST_CASE("Clipping by value cuts every element, for every rule") {
  for_every_rule([](const std::string& name) {
    Setup clipping(name, {{"gradient_clip", 1e-2}, {"clip_by", "value"}});
    Setup by_hand(name, {{"gradient_clip", 0.0}});
    for (int draw = 0; draw < 2; ++draw) {
      const auto report = clipping.step(draw);
      by_hand.learn_curvature(draw);
      fill_gradients(by_hand.store, draw);
      const double norm = by_hand.store.gradients().to(at::kDouble).norm().item<double>();
      by_hand.store.gradients().clamp_(-1e-2, 1e-2);
      by_hand.optimizer->step(kRate);
      CHECK(report.gradient_norm == Approx(norm).epsilon(1e-6));  // before clipping
    }
    CHECK(at::equal(clipping.parameters(), by_hand.parameters()));
  });
}

TEST_CASE("State that older versions saved flat loads, for the rules that they had") {
  for (const std::string name : {"adamw", "adam_mini", "sgd_momentum", "blockwise_sgd"}) {
    INFO(name);
    Setup saved(name), loaded(name);
    for (int draw = 0; draw < 2; ++draw) saved.step(draw);
    NamedTensors flat;
    for (const auto& [kind, tensor] : saved.optimizer->state().buffers()) {
      CHECK(tensor.dim() == 1);
      flat.emplace_back(kind, tensor.clone());
    }
    loaded.store.parameters().copy_(saved.parameters());
    loaded.optimizer->load_state(2, flat);
    CHECK(same(saved.state(), loaded.state()));
    flat.back().second = at::zeros({3});
    CHECK_THAT(input_error([&] { loaded.optimizer->load_state(2, flat); }),
               Contains("'" + flat.back().first + "' has 3 values"));
  }
}
