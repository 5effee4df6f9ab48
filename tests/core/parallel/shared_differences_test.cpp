// Differences of parameters that ranks share, against those of one process that has all of them.
#include "core/shared_differences.hpp"

#include "core/curvature.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/rank_processes.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Unequal ones, so that an order of them that is wrong is seen.
std::vector<Batch> batches_of(const SmallModel& small, std::int64_t count) {
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < count; ++i) {
    auto batch = small_batch(small);
    if (batch.inputs.is_floating_point()) {
      batch.inputs = batch.inputs + 0.1 * double(i);
    } else {
      batch.inputs = (batch.inputs + i).remainder(11);
    }
    batches.push_back(batch);
  }
  return batches;
}

// What rank 0 asks for: the parameters, the loss and its gradient, and products of and onto all
// tensors, and from the first to the last ones.
std::vector<at::Tensor> ask(Curvature& curvature) {
  const auto& layout = curvature.store().layout();
  const auto tail = layout.parameters().size() - 1;
  const ParameterSubset all(layout), few(layout, {0, tail}), last(layout, {tail});
  std::vector<at::Tensor> answers{curvature.parameters().clone(), curvature.gradient().clone(),
                                  at::full({1}, curvature.loss(), at::kDouble)};
  for (const auto& [in, out] :
       {std::pair{&all, &all}, std::pair{&few, &last}, std::pair{&last, &all}}) {
    const auto v = at::arange(1, in->size() + 1, at::kDouble).sin();
    const auto y = at::zeros({out->size()}, at::kDouble);
    curvature.hessian_product(*in, v, *out, y);
    answers.push_back(y);
  }
  // Nothing was left moved.
  answers.push_back(curvature.parameters().clone());
  return answers;
}

void demand_near(const std::vector<at::Tensor>& x, const std::vector<at::Tensor>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    // float64 sums in another order; a product divides them by a step of 1e-6 and more.
    const double bound = (i < 3 ? 1e-12 : 1e-6) * x[i].norm().item<double>();
    const double error = (x[i] - y[i]).norm().item<double>();
    if (!(error <= bound)) throw std::runtime_error(fmt::format("answer {}: off by {}", i, error));
  }
  if (!at::equal(y.front(), y.back())) throw std::runtime_error("parameters are left moved");
}

}  // namespace

TEST_CASE("shared differences: parameters, gradient and products are those of one process",
          "[parallel]") {
  std::size_t turn = 0;
  for (const auto& small : small_models()) {
    // Three ranks and four batches, then two batches: one has nothing of its own.
    const auto method =
        turn % 2 == 0 ? ProductMethod::finite_difference : ProductMethod::central_difference;
    const std::int64_t count = turn++ / 2 % 2 == 0 ? 4 : 2;
    INFO(small.name << ", " << count << " batches");
    const auto spec = small.spec();
    const auto batches = batches_of(small, count);
    const auto results = on_ranks(3, [&](const Ranks& ranks, const auto&) {
      const auto layout = spec->layout();
      const auto layers = spec->separate_layers();
      const auto owners = even_owners(layout, layers, ranks.size());
      ParameterStore store(layout, at::kCPU, at::kDouble, std::nullopt, Gradients::released,
                           OwnMasters{owners.own(ranks.rank()), layers});
      store.initialize(3);
      const auto model = spec->build(store);
      Curvature shared(*model, store, batches, method, ranks, owners);
      if (!ranks.is_first()) {
        shared.serve();
        return;
      }
      ParameterStore whole(layout, at::kCPU, at::kDouble);
      whole.initialize(3);
      const auto alone = spec->build(whole);
      Curvature expected(*alone, whole, batches, method);
      demand_near(ask(expected), ask(shared));
    });
    for (const auto& result : results) {
      INFO(result.text);
      CHECK(result.exit_code == 0);
    }
  }
}
