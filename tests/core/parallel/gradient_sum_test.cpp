// Sums over micro-batches and real processes, against loops.
#include "core/parallel/gradient_sum.hpp"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>

#include "core/autograd.hpp"
#include "core/parallel/gradient_buckets.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/rank_processes.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Tensors of 3, 4000 and 50 elements: in buckets of 1 KiB (256) some hold three tensors, others a
// piece of one.
ParameterLayout three_tensors() {
  std::vector<Parameter> parameters;
  for (const std::int64_t rows : {3, 4000, 50}) {
    Parameter parameter;
    parameter.name = "w" + std::to_string(rows);
    parameter.shape = {rows};
    parameters.push_back(parameter);
  }
  return ParameterLayout(parameters);
}

// Numbers of all magnitudes, so that another order of sums has other bits.
at::Tensor values_of(std::int64_t micro_batch, std::int64_t size) {
  const auto x = at::arange(size, at::kDouble);
  const auto magnitude = (x * 0.37 + double(micro_batch)).fmod(20.0).exp2();
  return ((x * 12.9898 + double(micro_batch) * 78.233).sin() * magnitude).to(at::kFloat);
}

// A loss whose gradient are those values; the tensor of 50 is read in even micro-batches only.
void run_backward(ParameterStore& store, std::int64_t micro_batch) {
  at::Tensor loss;
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    const auto& parameter = store.layout().parameters()[i];
    if (parameter.size() == 50 && micro_batch % 2 == 1) continue;
    const auto all = values_of(micro_batch, store.layout().size());
    const auto term =
        (store.tensors()[i] * all.narrow(0, parameter.offset, parameter.size())).sum();
    loss = loss.defined() ? loss + term : term;
  }
  backward(loss);
}

at::Tensor gradient_of(std::int64_t micro_batch, const ParameterLayout& layout) {
  auto all = values_of(micro_batch, layout.size());
  if (micro_batch % 2 == 1) all.narrow(0, layout.size() - 50, 50).zero_();
  return all;
}

// The tree of ranks.hpp, by recursion.
at::Tensor tree(const std::vector<at::Tensor>& parts) {
  if (parts.size() == 1) return parts.front();
  std::size_t half = 1;
  while (2 * half < parts.size()) half *= 2;
  return tree({parts.begin(), parts.begin() + std::ptrdiff_t(half)}) +
         tree({parts.begin() + std::ptrdiff_t(half), parts.end()});
}

at::Tensor running(const std::vector<at::Tensor>& parts) {
  auto sum = at::zeros_like(parts.front());
  for (const auto& part : parts) sum = sum + part;
  return sum;
}

// Of which the second one counts: nothing is left of the first.
void run_two_steps(ParameterStore& store, const Ranks& ranks, std::int64_t micro_batches,
                   GradientSum& sum) {
  for (int step = 0; step < 2; ++step) {
    sum.begin_step();
    for (std::int64_t i = 0; i < micro_batches; ++i) {
      sum.begin_micro_batch();
      run_backward(store, ranks.rank() * micro_batches + i);
      sum.end_micro_batch();
    }
    sum.end_step();
  }
  store.check_gradient_views();
}

at::Tensor summed(const Ranks& ranks, SumOrder order, std::int64_t micro_batches, Owners owners) {
  ParameterStore store(three_tensors(), at::kCPU);
  const auto sum = make_kept_sum(store, ranks, {order, micro_batches, 1024, std::move(owners)});
  run_two_steps(store, ranks, micro_batches, *sum);
  return store.gradients();
}

// The same into this rank's share alone.
at::Tensor sharded(const Ranks& ranks, std::int64_t micro_batches, const Shares& owners) {
  ParameterStore store(three_tensors(), at::kCPU, at::kFloat, std::nullopt, Gradients::released);
  const auto r = std::size_t(ranks.rank());
  auto own = at::full({owners[r + 1] - owners[r]}, 7.0, at::kFloat);
  const auto sum = make_sharded_sum(
      store, ranks, {SumOrder::running, micro_batches, 1024, Owners({owners})}, own);
  run_two_steps(store, ranks, micro_batches, *sum);
  return own;
}

std::vector<at::Tensor> all_gradients(std::int64_t first, std::int64_t count) {
  std::vector<at::Tensor> parts;
  for (std::int64_t i = first; i < first + count; ++i) {
    parts.push_back(gradient_of(i, three_tensors()));
  }
  return parts;
}

void require_fine(const std::vector<ChildResult>& results) {
  for (const auto& result : results) {
    INFO(result.text);
    REQUIRE(result.exit_code == 0);
  }
}

// Says when a parameter's gradient is there.
class ArrivalHook : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit ArrivalHook(std::function<void()> arrived) : arrived_(std::move(arrived)) {}
  void operator()(const at::Tensor&) override { arrived_(); }

 private:
  std::function<void()> arrived_;
};

void demand(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("parallel: the tree over rows is the recursion's, to the bit", "[parallel]") {
  for (const std::int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 13}) {
    const auto parts = all_gradients(0, count);
    const auto rows = at::stack(parts);
    add_by_tree(rows);
    INFO(count << " rows");
    CHECK(at::equal(rows[0], tree(parts)));
  }
  // The values tell orders apart.
  CHECK_FALSE(at::equal(tree(all_gradients(0, 8)), running(all_gradients(0, 8))));
}

TEST_CASE("parallel: one process adds as the header says, to the bit", "[parallel]") {
  const Ranks alone;
  for (const std::int64_t count : {1, 2, 3, 4, 6, 8}) {
    INFO(count << " micro-batches");
    const auto parts = all_gradients(0, count);
    CHECK(at::equal(summed(alone, SumOrder::running, count, {}), running(parts)));
    CHECK(at::equal(summed(alone, SumOrder::pairwise, count, {}), tree(parts)));
  }
}

// What closes a bucket sends it, so the last layers' gradients travel while the first layers' are
// computed.
TEST_CASE("parallel: buckets of the last layer are closed before the pass is back at the first",
          "[parallel]") {
  for (const auto& small : small_models()) {
    if (small.spec()->layout().layer_count() < 2) continue;
    INFO(small.name);
    const auto spec = small.spec();
    ParameterStore store(spec->layout(), at::kCPU);
    store.initialize(1);
    const auto model = spec->build(store);
    const auto first =
        std::size_t(std::ranges::find(store.layout().parameters(), 0, &Parameter::layer) -
                    store.layout().parameters().begin());
    std::size_t closed = 0, before_first = 0;
    GradientBuckets buckets(store.layout(), {}, store.layout().size() / 20,
                            [&](std::size_t) { ++closed; });
    buckets.open();
    for (std::size_t i = 0; i < store.tensors().size(); ++i) {
      torch::autograd::impl::set_post_acc_grad_hooks(store.tensors()[i],
                                                     std::make_unique<ArrivalHook>([&, i] {
                                                       if (i == first) before_first = closed;
                                                       buckets.arrive(i);
                                                     }));
    }
    ForwardContext context;
    backward(model->loss(small_batch(small), context));
    buckets.close_all();
    CHECK(closed == buckets.buckets().size());
    CHECK(before_first > 0);
  }
}

TEST_CASE("parallel: processes that add pairwise have the bits of one", "[parallel]") {
  for (const auto& [size, each] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{2, 4}, {4, 2}, {3, 2}, {5, 1}}) {
    INFO(size << " processes with " << each << " micro-batches");
    const auto expected = tree(all_gradients(0, size * each));
    require_fine(on_ranks(size, [&, each = each](const Ranks& ranks, const auto&) {
      demand(at::equal(summed(ranks, SumOrder::pairwise, each, {}), expected), "other bits");
    }));
  }
}

TEST_CASE("parallel: running sums of each process, then the tree of processes", "[parallel]") {
  const std::int64_t size = 3, each = 3;
  std::vector<at::Tensor> own;
  for (std::int64_t r = 0; r < size; ++r) own.push_back(running(all_gradients(r * each, each)));
  const auto expected = tree(own);
  require_fine(on_ranks(size, [&](const Ranks& ranks, const auto&) {
    demand(at::equal(summed(ranks, SumOrder::running, each, {}), expected), "other bits");
  }));
}

TEST_CASE("parallel: owners get their share, however uneven", "[parallel]") {
  const auto size = three_tensors().size();
  const Shares owners = {0, 3, 3, size};  // rank 1 owns nothing
  const auto expected = tree(all_gradients(0, 3));
  require_fine(on_ranks(3, [&](const Ranks& ranks, const auto&) {
    const auto sum = summed(ranks, SumOrder::running, 1, Owners({owners}));
    const auto begin = owners[std::size_t(ranks.rank())];
    const auto own = owners[std::size_t(ranks.rank()) + 1] - begin;
    demand(at::equal(sum.narrow(0, begin, own), expected.narrow(0, begin, own)), "other bits");
  }));
}

TEST_CASE("parallel: gradients that are sent to their owners as they appear", "[parallel]") {
  const auto size = three_tensors().size();
  for (const Shares& owners : {Shares{0, 3, 3, size}, Shares{0, 1300, 2600, size}}) {
    for (const std::int64_t each : {1, 2}) {
      // Every micro-batch over ranks, then one after the other.
      auto expected = at::zeros({size});
      for (std::int64_t i = 0; i < each; ++i) {
        std::vector<at::Tensor> parts;
        for (std::int64_t r = 0; r < 3; ++r) {
          parts.push_back(gradient_of(r * each + i, three_tensors()));
        }
        expected = expected + tree(parts);
      }
      require_fine(on_ranks(3, [&](const Ranks& ranks, const auto&) {
        const auto begin = owners[std::size_t(ranks.rank())];
        const auto own = sharded(ranks, each, owners);
        demand(at::equal(own, expected.narrow(0, begin, own.numel())), "other bits");
      }));
    }
  }
}

TEST_CASE("parallel: numbers and texts of ranks", "[parallel]") {
  require_fine(on_ranks(3, [&](const Ranks& ranks, const auto&) {
    const double own[] = {double(ranks.rank()), 10.0 * double(ranks.rank())};
    demand(ranks.gather(own) == std::vector<double>{0, 0, 1, 10, 2, 20}, "gather");
    demand(ranks.number_of_first(7 + ranks.rank()) == 7, "number");
    demand(ranks.text_of_first(ranks.is_first() ? "abc" : "") == "abc", "text");
    demand(ranks.text_of_first("").empty(), "empty text");
  }));
}

TEST_CASE("parallel: a process that goes is named by those that are left", "[parallel]") {
  const auto results = on_ranks(3, [](const Ranks& ranks, const auto&) {
    ranks.gather(std::vector<double>{1.0});
    if (ranks.rank() == 1) ::_exit(9);
    ranks.gather(std::vector<double>{1.0});
  });
  CHECK(results[1].exit_code == 9);
  CHECK(results[0].exit_code == 1);
  CHECK_THAT(results[0].text, blockwise::testing::Contains("not answering: rank 1"));
  // It may have waited for rank 0 alone.
  CHECK(results[2].exit_code == 1);
  CHECK_THAT(results[2].text, blockwise::testing::Contains("not answering: rank 1") ||
                                  blockwise::testing::Contains("rank 0, where all meet, has left"));
}
