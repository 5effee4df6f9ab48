// Gefen's blocks: what the first gradient shows, and how they are kept.
#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Run {
  Run(std::vector<std::int64_t> shape, nlohmann::json options)
      : store(ParameterLayout({parameter(std::move(shape))}), at::kCPU) {
    options["rule"] = "gefen";
    options["gradient_clip"] = 0.0;
    fill_parameters(store);
    optimizer.emplace(optimizer_config(std::move(options)), store);
  }
  static Parameter parameter(std::vector<std::int64_t> shape) {
    Parameter made;
    made.name = "w";
    made.shape = std::move(shape);
    return made;
  }
  void step(const at::Tensor& gradient) {
    store.gradients().copy_(gradient.reshape({-1}));
    optimizer->step(1e-2);
  }
  std::int64_t block_length() const {
    return store.layout().size() / optimizer->state().of(0).load(1).numel();
  }
  std::int64_t state_bytes() const {
    std::int64_t sum = 0;
    for (const auto& [name, bytes] : optimizer->state().bytes()) sum += bytes;
    return sum;
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

// Rows of magnitudes of their own around values that vary by a third.
at::Tensor scaled_rows(std::int64_t rows, std::int64_t columns, std::uint32_t stream = 3) {
  const auto scale = at::exp2(formula_values(stream, rows) * 6.0).view({rows, 1});
  const auto values = formula_values(stream + 1, rows * columns).view({rows, columns});
  return scale * (1.0 + values / 3.0);
}

}  // namespace

TEST_CASE("gefen: both rules find rows of magnitudes of their own") {
  for (const std::string rule : {"neighbours", "variance"}) {
    INFO(rule);
    Run run({32, 24}, {{"blocks", rule}});
    CHECK(run.state_bytes() == 8 * 768);  // the bound, before the first step
    run.step(scaled_rows(32, 24));
    CHECK(run.block_length() == 24);
    CHECK(run.state_bytes() == 4 * 768 + 4 * 32);
  }
}

TEST_CASE("gefen: v is the average of each block's mean square") {
  Run run({16, 12}, {{"blocks", "variance"}, {"beta2", 0.9}});
  const auto first = scaled_rows(16, 12).to(at::kFloat);
  const auto second = scaled_rows(16, 12, 7).to(at::kFloat);
  run.step(first);
  run.step(second);
  const auto v =
      0.09 * first.to(at::kDouble).square().mean(1) + 0.1 * second.to(at::kDouble).square().mean(1);
  const auto error = (run.optimizer->state().of(0).load(1) - v).abs() / v;
  CHECK(error.max().item<double>() < 1e-6);  // a dozen roundings of float32
}

TEST_CASE("gefen: long blocks of neighbours become the smallest divisor above 1024") {
  Run run({8, 3072}, {});
  const auto in_turn = at::exp2(at::arange(8, at::kDouble).remainder(2) * 4.0).view({8, 1});
  run.step(in_turn * scaled_rows(1, 8 * 3072).view({8, 3072}));
  CHECK(run.block_length() == 1536);  // 3072's divisors: ..., 1024, 1536, 3072
  Run variance({8, 3072}, {{"blocks", "variance"}});
  variance.step(scaled_rows(8, 3072));
  CHECK(variance.block_length() == 3072);
}

TEST_CASE("gefen: where no block shows, every element has a value, or rows share one") {
  const auto even = at::ones({16, 24});
  for (const std::string rule : {"neighbours", "variance"}) {
    Run elements({16, 24}, {{"blocks", rule}});
    elements.step(even);
    CHECK(elements.block_length() == 1);
    // 384 is the largest divisor up to 2048, more than a row.
    Run rows({16, 24}, {{"blocks", rule}, {"without_blocks", "rows"}});
    rows.step(even);
    CHECK(rows.block_length() == 384);
    CHECK(rows.state_bytes() < elements.state_bytes());
  }
}

TEST_CASE("gefen: a gradient of zeros decides nothing, and a run resumes from before and after") {
  Run through({32, 24}, {{"weight_decay", 0.1}});
  through.step(at::zeros({32, 24}));
  CHECK(through.optimizer->state().of(0).load(1).numel() == 0);
  ParameterStore before(through.store.layout(), at::kCPU);
  Optimizer undecided(optimizer_config({{"rule", "gefen"}}), before);
  undecided.load_state(1, through.optimizer->state().by_parameter());
  CHECK(undecided.state().of(0).load(1).numel() == 0);

  through.step(scaled_rows(32, 24));
  CHECK(through.block_length() == 24);
  Run after({32, 24}, {{"weight_decay", 0.1}});
  after.store.parameters().copy_(through.store.parameters());
  after.optimizer->load_state(2, through.optimizer->state().by_parameter());
  CHECK(after.block_length() == 24);
  // What another first gradient would show changes nothing any more.
  for (auto* each : {&through, &after}) {
    each->step(scaled_rows(48, 16, 11));
    each->step(scaled_rows(32, 24, 12));
  }
  CHECK(at::equal(through.store.parameters(), after.store.parameters()));
}

TEST_CASE("gefen: saved values that are no number of blocks are refused") {
  Run run({32, 24}, {});
  run.step(scaled_rows(32, 24));
  auto state = run.optimizer->state().by_parameter();
  state.back().second = at::zeros({5});
  CHECK_THAT(input_error([&] { run.optimizer->load_state(1, state); }),
             Contains("'exp_avg_sq/w' has 5 values, a divisor of 768 up to 768 is needed"));
  CHECK(run.block_length() == 24);
}
