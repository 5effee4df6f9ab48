// Parameters cut by rows: the pieces, each with its own part of the state, step as the whole does.
#include "optimizers/row_pieces.hpp"

#include "core/partition/partition_rows.hpp"

#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

State fresh_state(const std::vector<StateSpec>& specs) {
  std::vector<at::Tensor> tensors;
  for (const auto& spec : specs) {
    const auto shape = spec.is_chosen_later() ? std::vector<std::int64_t>{0} : spec.shape;
    tensors.push_back(at::zeros(shape, spec.type));
  }
  return State(std::move(tensors));
}

void apply(const UpdateRule& rule, const ParameterStep& step, std::int64_t t) {
  kernels::Workspace space;
  const StepScope scope{t, 1e-2, 0.7, 0, space};
  const auto* fused = rule.fused(KernelKey::of(step));
  if (fused != nullptr) {
    fused->apply(step, scope);
  } else {
    rule.update(step, scope);
  }
}

// Two steps of the whole, then one more of it and one of its pieces.
void check_pieces(const UpdateRule& rule, const Parameter& block, const TensorPartition& partition,
                  std::int64_t pieces) {
  const auto n = block.size();
  const auto draw = [&](std::uint32_t stream) {
    return formula_values(stream, n).view(block.shape).to(at::kFloat).clone();
  };
  const auto weight = draw(1);
  const auto state = fresh_state(rule.state(block, partition));
  for (int t = 1; t <= 2; ++t) {
    apply(rule, {block, partition, weight, draw(std::uint32_t(1 + t)), state, 0.1, nullptr}, t);
  }
  const auto cuts = row_cuts(rule, block, partition, pieces);
  const auto cut = cut_state(rule, block, partition, state, cuts);
  std::vector<at::Tensor> weights;
  std::vector<State> states;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    weights.push_back(weight.narrow(0, cuts[i], cuts[i + 1] - cuts[i]).clone());
    std::vector<at::Tensor> own;
    for (const auto& of_state : cut) own.push_back(of_state[i].clone());
    states.emplace_back(std::move(own));
  }
  const auto gradient = draw(9);
  apply(rule, {block, partition, weight, gradient, state, 0.1, nullptr}, 3);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    const auto rows = cuts[i + 1] - cuts[i];
    const auto piece = parameter_rows(block, cuts[i], rows);
    const auto of_piece = partition_rows(partition, cuts[i], rows);
    apply(rule,
          {piece, of_piece, weights[i], gradient.narrow(0, cuts[i], rows).contiguous(), states[i],
           0.1, nullptr},
          3);
  }
  CHECK(at::equal(at::cat(weights), weight));
  for (std::size_t k = 0; k < state.size(); ++k) {
    std::vector<at::Tensor> joined;
    for (const auto& own : states) joined.push_back(own.load(k).reshape({-1}));
    CHECK(at::equal(at::cat(joined), state.load(k).view({-1})));
  }
}

}  // namespace

TEST_CASE("row pieces: every rule steps alike on pieces and on the whole, and state joins") {
  const auto layout = small_models()[0].spec()->layout();
  for (const auto& entry : update_rules()) {
    OptimizerConfig config = optimizer_config({{"rule", entry.name}});
    for (const std::string name : {"adam_mini", "per_element", "per_row", "factored"}) {
      const auto partition = make_partition(layout, name);
      const RuleSet rules(config, layout);
      for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
        INFO(entry.name << " " << name << " " << layout.parameters()[i].name);
        // BAdam leaves tables and head alone.
        const auto& block = layout.parameters()[i];
        const auto specs = rules.of(i).rule->state(block, partition.tensors()[i]);
        if (entry.name == "badam" && specs.empty()) continue;
        check_pieces(*rules.of(i).rule, block, partition.tensors()[i], 3);
      }
    }
  }
}

TEST_CASE("row pieces: a rule says how many rows belong together") {
  const auto layout = small_models()[0].spec()->layout();
  const auto rows = [&](const std::string& rule, const std::string& partition, ParameterRole role) {
    const RuleSet rules(optimizer_config({{"rule", rule}}), layout);
    const auto cut = make_partition(layout, partition);
    for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
      const auto& block = layout.parameters()[i];
      if (block.role != role || !block.is_matrix()) continue;
      return std::pair(rules.of(i).rule->rows_together(block, cut.tensors()[i]), block.rows());
    }
    return std::pair<std::int64_t, std::int64_t>(0, 0);
  };
  CHECK(rows("adamw", "per_element", ParameterRole::mlp_in).first == 1);
  CHECK(rows("adam_mini", "adam_mini", ParameterRole::mlp_in).first == 1);
  const auto whole = rows("adam_mini", "per_tensor", ParameterRole::mlp_in);
  CHECK(whole.first == whole.second);
  const auto factored = rows("adam_mini", "factored", ParameterRole::mlp_in);
  CHECK(factored.first == factored.second);
  const auto muon = rows("muon", "per_element", ParameterRole::mlp_in);
  CHECK(muon.first == muon.second);
}
