// Every registered rule on tensors of every shape: vectors, wide and tall matrices, one row, one
// column, more than two axes, sizes that no group divides. A new rule is tested by its line in
// registry.inc; conformance_test.cpp has what it keeps on whole models.
#include <ATen/ATen.h>

#include "optimizers/row_pieces.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr double kRate = 1e-2;

ParameterLayout shapes() {
  const auto block = [](const std::string& name, std::vector<std::int64_t> shape,
                        ParameterRole role = ParameterRole::other) {
    Parameter made;
    made.name = name;
    made.shape = std::move(shape);
    made.role = role;
    return made;
  };
  return ParameterLayout(
      {block("vector", {7}), block("scalar", {1}), block("wide", {5, 24}), block("tall", {30, 4}),
       block("row", {1, 9}), block("column", {6, 1}), block("cube", {3, 4, 5}),
       block("odd", {13, 11}), block("table", {11, 6}, ParameterRole::token_embedding),
       block("head", {11, 6}, ParameterRole::lm_head), block("gain", {6}, ParameterRole::norm)});
}

nlohmann::json rule_fields(const std::string& name, double clip = 1.0) {
  return {{"rule", name}, {"gradient_clip", clip}};
}

struct Run {
  explicit Run(nlohmann::json fields, bool fused = true) : store(shapes(), at::kCPU) {
    fields["weight_decay"] = 0.1;
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store, 5);
    if (!fused) optimizer->use_tensor_operations();
  }
  StepReport step(int draw, double magnitude = 1.0) {
    fill_gradients(store, draw);
    store.gradients().mul_(magnitude);
    return optimizer->step(kRate);
  }
  bool finite() const {
    bool all = at::isfinite(store.parameters()).all().item<bool>();
    for (const auto& [name, values] : optimizer->state().buffers()) {
      all = all && at::isfinite(values).all().item<bool>();
    }
    return all;
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

bool same_state(const Optimizer& a, const Optimizer& b) {
  const auto& x = a.state().buffers();
  const auto& y = b.state().buffers();
  bool same = x.size() == y.size();
  for (std::size_t i = 0; same && i < x.size(); ++i) same = at::equal(x[i].second, y[i].second);
  return same;
}

template <typename Check>
void for_every_rule(Check check) {
  for (const auto& entry : update_rules()) {
    INFO(entry.name);
    check(entry.name);
  }
}

}  // namespace

TEST_CASE("shapes: both forms of a rule agree, and every tensor moves") {
  for_every_rule([](const std::string& name) {
    auto fields = smooth_options(name);
    // Kernels sum a norm in another order, and some rules magnify the last bit of its factor.
    fields["gradient_clip"] = 0.0;
    Run fused(fields), plain(fields, false);
    const auto start = fused.store.parameters().clone();
    for (int draw = 0; draw < 3; ++draw) {
      fused.step(draw);
      plain.step(draw);
    }
    const auto expected = plain.store.parameters();
    const auto error = (fused.store.parameters() - expected).abs() / (expected.abs() + 3 * kRate);
    CHECK(error.max().item<double>() < 3 * 5e-7);  // three steps' roundings
    const auto squares = fused.optimizer->squared_updates();
    for (std::size_t i = 0; i < squares.size(); ++i) {
      const auto role = fused.store.layout().parameters()[i].role;
      const bool rests = name == "badam" &&
                         (role == ParameterRole::token_embedding || role == ParameterRole::lm_head);
      CHECK((squares[i] > 0.0) != rests);
    }
    CHECK(fused.finite());
  });
}

TEST_CASE("shapes: a resumed run is the run, bit for bit") {
  for_every_rule([](const std::string& name) {
    Run through(rule_fields(name)), resumed(rule_fields(name));
    for (int draw = 0; draw < 2; ++draw) through.step(draw);
    resumed.store.parameters().copy_(through.store.parameters());
    resumed.optimizer->load_state(2, through.optimizer->state().by_parameter());
    // Two steps: what is wrong in the state shows at the second at the latest.
    for (int draw = 2; draw < 4; ++draw) {
      through.step(draw);
      resumed.step(draw);
    }
    CHECK(at::equal(through.store.parameters(), resumed.store.parameters()));
    CHECK(same_state(*through.optimizer, *resumed.optimizer));
  });
}

TEST_CASE("shapes: zero gradients move nothing but by decay, also after others and before others") {
  for_every_rule([](const std::string& name) {
    Run first(rule_fields(name));
    first.step(0, 0.0);
    first.step(1);
    CHECK(first.finite());
    Run later(rule_fields(name));
    later.step(0);
    later.step(1, 0.0);
    later.step(2, 0.0);
    later.step(3);
    CHECK(later.finite());
  });
}

TEST_CASE("shapes: huge gradients leave weights and state finite") {
  for_every_rule([](const std::string& name) {
    // Squares fit into float32 without clipping; with it, any finite gradient does.
    for (const auto& [clip, magnitude] : {std::pair{0.0, 1e15}, {1.0, 1e30}}) {
      INFO("clip " << clip);
      Run run(rule_fields(name, clip));
      run.step(0);
      run.step(1, magnitude);
      run.step(2);
      CHECK(run.finite());
    }
  });
}

TEST_CASE("shapes: one element that is not finite changes nothing of any tensor") {
  for_every_rule([](const std::string& name) {
    for (const double bad : {std::nan(""), HUGE_VAL}) {
      Run run(rule_fields(name)), without(rule_fields(name));
      for (auto* each : {&run, &without}) each->step(0);
      fill_gradients(run.store, 1);
      run.store.gradients()[40] = bad;  // of `wide`
      CHECK(run.optimizer->step(kRate).update_norm == 0.0);
      CHECK(at::equal(run.store.parameters(), without.store.parameters()));
      CHECK(same_state(*run.optimizer, *without.optimizer));
      CHECK(run.optimizer->steps() == 1);
    }
  });
}

TEST_CASE("shapes: state has the declared sizes, and cut by rows it is that of the pieces") {
  for_every_rule([](const std::string& name) {
    Run run(rule_fields(name));
    const auto& layout = run.store.layout();
    std::int64_t declared = 0, bytes = 0;
    for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
      const auto& block = layout.parameters()[i];
      const auto& rule = *run.optimizer->rules().of(i).rule;
      const auto& partition = run.optimizer->partition().tensors()[i];
      for (const auto& spec : rule.state(block, partition)) {
        declared += std::int64_t(c10::elementSize(spec.type)) * spec.size();
      }
      const auto cuts = row_cuts(rule, block, partition, 3);
      CHECK(cuts.back() == block.rows());
      // Throws where the pieces' values are not the whole's.
      cut_state(rule, block, partition, run.optimizer->state().of(i), cuts);
    }
    for (const auto& [kind, size] : run.optimizer->state().bytes()) bytes += size;
    CHECK(bytes == declared);
  });
}

TEST_CASE("shapes: another seed draws something else, the same one the same") {
  for (const std::string name : {"apollo", "apollo_mini", "frugal", "dion"}) {
    INFO(name);
    const auto after = [&](std::uint64_t seed) {
      ParameterStore store(shapes(), at::kCPU);
      fill_parameters(store);
      Optimizer optimizer(optimizer_config({{"rule", name}}), store, seed);
      fill_gradients(store, 0);
      optimizer.step(kRate);
      return store.parameters().clone();
    };
    CHECK(at::equal(after(3), after(3)));
    CHECK_FALSE(at::equal(after(3), after(4)));
  }
}
