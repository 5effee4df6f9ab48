// Products against the dense Hessian, differences, and closed forms.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/base/batch.hpp"
#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/memory/memory_meter.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/dense.hpp"
#include "hessian/product_memory.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_curvature.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// One layer: some hundred parameters, so that every column is looked at.
std::vector<SmallModel> tiny_models() {
  auto models = small_models();
  for (auto& model : models) {
    if (model.family == "mlp") continue;
    model.fields["n_layer"] = 1;
    if (model.family == "gpt2") model.fields["n_embd"] = 4;
    if (model.family == "llama") model.fields["intermediate_size"] = 4;
  }
  return models;
}

struct Setup {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
  std::vector<Batch> batches;

  explicit Setup(const SmallModel& small, at::ScalarType dtype = at::kDouble)
      : spec(small.spec()),
        store(std::make_unique<ParameterStore>(spec->layout(), at::kCPU, dtype)) {
    store->initialize(7);
    {
      // Away from the symmetric start, where many second derivatives vanish.
      at::NoGradGuard no_grad;
      auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
      store->parameters().add_(at::randn(store->parameters().sizes(), generator, at::kDouble), 0.3);
    }
    model = spec->build(*store);
    auto batch = small_batch(small);
    if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(dtype);
    batch.targets.view({-1})[1] = kIgnoredTarget;
    batches = {batch};
  }

  Curvature curvature(ProductMethod method) { return {*model, *store, batches, method}; }
};

at::Tensor random_vector(std::int64_t size, std::uint64_t seed,
                         at::ScalarType dtype = at::kDouble) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({size}, generator, dtype);
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// LibTorch's attention from its own plain operations, which it differentiates twice by itself.
class MathAttention {
 public:
  MathAttention() { set(false); }
  ~MathAttention() { set(true); }
  MathAttention(const MathAttention&) = delete;
  MathAttention& operator=(const MathAttention&) = delete;

 private:
  static void set(bool fused) {
    at::globalContext().setSDPUseFlash(fused);
    at::globalContext().setSDPUseMemEfficient(fused);
  }
};

// The Hessian by LibTorch's own second derivatives of the loss as it is trained, row by row: none
// of our twice differentiable functions take part.
at::Tensor reference_hessian(const Setup& setup) {
  const MathAttention math;
  ForwardContext context;
  const auto logits = setup.model->logits(setup.batches[0].inputs, context);
  const auto loss = at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}),
                                           setup.batches[0].targets.reshape({-1}), {},
                                           at::Reduction::Mean, kIgnoredTarget);
  const auto leaves = setup.store->tensors();
  const auto flat = [&](const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      parts.push_back(
          (tensors[i].defined() ? tensors[i] : at::zeros_like(leaves[i])).reshape({-1}));
    }
    return at::cat(parts);
  };
  const auto gradient = flat(torch::autograd::grad({loss}, leaves, {}, true, true, true));
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < gradient.numel(); ++i) {
    rows.push_back(flat(torch::autograd::grad({gradient[i]}, leaves, {}, true, false, true)));
  }
  return at::stack(rows);
}

}  // namespace

// The bound of the task. Both sides are double; sums of some hundred terms differ by 1e-15
// relative.
TEST_CASE("The exact products are the dense Hessian of LibTorch's plain loss") {
  for (const auto& small : tiny_models()) {
    if (small.name == "llama MHA" || small.name == "gpt2 untied") continue;  // nothing of their own
    INFO(small.name);
    Setup setup(small);
    const auto expected = reference_hessian(setup);
    CHECK(expected.abs().max().item<double>() > 1e-2);
    for (const auto method : {ProductMethod::kept_graph, ProductMethod::fresh_graph}) {
      auto curvature = setup.curvature(method);
      const CurvatureOperator h(curvature, CurvatureKind::hessian,
                                ParameterSubset(setup.spec->layout()));
      CHECK(relative(to_dense(h), expected) < 1e-8);
    }
  }
}

// One-sided: truncation and rounding meet near sqrt(eps) = 1e-8, central near eps^(2/3) = 4e-11,
// times the third derivatives over the norm, within a factor of 1e3 here.
TEST_CASE("Difference products agree to what their step allows, and say so") {
  for (const auto& small : tiny_models()) {
    INFO(small.name);
    Setup setup(small);
    const ParameterSubset all(setup.spec->layout());
    const auto v = random_vector(all.size(), 5);
    auto exact = setup.curvature(ProductMethod::kept_graph);
    const auto expected = CurvatureOperator(exact, CurvatureKind::hessian, all)(v);
    const auto before = setup.store->parameters().clone();
    for (const auto& [method, bound] : {std::pair{ProductMethod::finite_difference, 1e-5},
                                        std::pair{ProductMethod::central_difference, 1e-7}}) {
      auto curvature = setup.curvature(method);
      const auto found = CurvatureOperator(curvature, CurvatureKind::hessian, all)(v);
      const double error = relative(found, expected);
      CHECK(error < bound);
      // What is stated is for a random vector, twice over.
      CHECK(curvature.difference_step(all).typical_error > error);
      CHECK(curvature.difference_step(all).typical_error < bound * 10.0);
      CHECK(at::equal(setup.store->parameters(), before));
    }
  }
}

TEST_CASE("Products restricted to tensors are blocks of the whole matrix") {
  const auto small = tiny_models()[4];
  Setup setup(small);
  const auto& layout = setup.spec->layout();
  const auto whole = reference_hessian(setup);
  auto curvature = setup.curvature(ProductMethod::kept_graph);
  const ParameterSubset a(layout, {1, 4}), b(layout, {2});
  const auto span = [&](const ParameterSubset& subset) {
    std::vector<at::Tensor> parts;
    for (const auto block : subset.parameters()) {
      const auto& info = layout.parameters()[block];
      parts.push_back(at::arange(info.offset, info.offset + info.size(), at::kLong));
    }
    return at::cat(parts);
  };
  const CurvatureOperator diagonal(curvature, CurvatureKind::hessian, a);
  CHECK(relative(to_dense(diagonal), whole.index_select(0, span(a)).index_select(1, span(a))) <
        1e-8);
  // H[b, a], column by column.
  std::vector<at::Tensor> columns;
  for (std::int64_t j = 0; j < a.size(); ++j) {
    auto unit = at::zeros({a.size()}, at::kDouble);
    unit[j] = 1.0;
    columns.push_back(at::zeros({b.size()}, at::kDouble));
    curvature.hessian_product(a, unit, b, columns.back());
  }
  CHECK(relative(at::stack(columns, 1), whole.index_select(0, span(b)).index_select(1, span(a))) <
        1e-8);
  const BlockDiagonalOperator blocks(curvature, CurvatureKind::hessian, {a, b});
  const auto dense = to_dense(blocks);
  CHECK(dense.narrow(0, 0, a.size()).narrow(1, a.size(), b.size()).abs().max().item<double>() == 0);
  CHECK(relative(dense.narrow(0, a.size(), b.size()).narrow(1, a.size(), b.size()),
                 whole.index_select(0, span(b)).index_select(1, span(b))) < 1e-8);
}

TEST_CASE("Batches add up by their counted targets, unequal or not") {
  for (const auto method : {ProductMethod::kept_graph, ProductMethod::fresh_graph}) {
    Setup setup(tiny_models()[0]);
    const auto whole = setup.batches[0];
    const ParameterSubset all(setup.spec->layout());
    const auto v = random_vector(all.size(), 2);
    auto together = setup.curvature(method);
    const auto expected = CurvatureOperator(together, CurvatureKind::hessian, all)(v);
    const auto loss = together.loss();
    // Rows of unequal numbers of counted targets: the first has an ignored one.
    setup.batches = {{whole.inputs.narrow(0, 0, 1), whole.targets.narrow(0, 0, 1)},
                     {whole.inputs.narrow(0, 1, 1), whole.targets.narrow(0, 1, 1)}};
    auto apart = setup.curvature(method);
    CHECK(relative(CurvatureOperator(apart, CurvatureKind::hessian, all)(v), expected) < 1e-12);
    CHECK(apart.loss() == Approx(loss).epsilon(1e-12));
    CHECK(relative(apart.gradient(), together.gradient()) < 1e-12);
  }
}

TEST_CASE("Gauss-Newton and Fisher are sums of outer products of Jacobians") {
  const auto models = tiny_models();
  for (const auto& small : {models[0], models[4], models[7]}) {  // one of each family
    INFO(small.name);
    Setup setup(small);
    const ParameterSubset all(setup.spec->layout());
    auto curvature = setup.curvature(ProductMethod::kept_graph);
    const auto gn = to_dense(CurvatureOperator(curvature, CurvatureKind::gauss_newton, all));
    const auto fisher = to_dense(CurvatureOperator(curvature, CurvatureKind::fisher, all));
    // Written out: Jacobian rows of every logit, and of every target's loss.
    ForwardContext context;
    context.twice_differentiable = true;
    const auto logits = setup.model->logits(setup.batches[0].inputs, context);
    const auto rows = logits.reshape({-1, logits.size(-1)});
    const auto targets = setup.batches[0].targets.reshape({-1});
    const auto counted = targets.ne(kIgnoredTarget);
    const double count = counted.sum().item<double>();
    auto expected_gn = at::zeros_like(gn), expected_fisher = at::zeros_like(fisher);
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      if (!counted[i].item<bool>()) continue;
      std::vector<at::Tensor> jacobian;
      for (std::int64_t c = 0; c < rows.size(1); ++c) {
        auto flat = at::empty({all.size()}, at::kDouble);
        all.pack(torch::autograd::grad({rows[i][c]}, setup.store->tensors(), {}, true, false, true),
                 flat);
        jacobian.push_back(flat);
      }
      const auto j = at::stack(jacobian);
      const auto p = at::softmax(rows[i].detach(), 0);
      expected_gn += j.t().mm((at::diag(p) - at::outer(p, p)).mm(j)) / count;
      auto slope = p.clone();
      slope[targets[i].item<std::int64_t>()] -= 1.0;
      const auto g = j.t().mv(slope);
      expected_fisher += at::outer(g, g) / count;
    }
    CHECK(relative(gn, expected_gn) < 1e-8);
    CHECK(relative(fisher, expected_fisher) < 1e-8);
  }
}

namespace {

Batch with_flipped_targets(Batch batch) {
  batch.targets = batch.targets.flip(-1).contiguous();
  return batch;
}

}  // namespace

// On several batches, of all tensors and of some, asked for in turns with other kinds.
TEST_CASE("Gauss-Newton and Fisher on kept graphs are those of fresh ones") {
  for (const auto& small : tiny_models()) {
    INFO(small.name);
    Setup setup(small);
    const auto first = setup.batches[0], second = with_flipped_targets(first);
    setup.batches = {first, second, second};
    const auto& layout = setup.spec->layout();
    auto kept = setup.curvature(ProductMethod::kept_graph);
    auto fresh = setup.curvature(ProductMethod::fresh_graph);
    const auto agree = [&](CurvatureKind kind, const ParameterSubset& subset) {
      const auto v = random_vector(subset.size(), 3);
      const auto expected = CurvatureOperator(fresh, kind, subset)(v);
      return relative(CurvatureOperator(kept, kind, subset)(v), expected) < 1e-12;
    };
    const ParameterSubset all(layout), one(layout, {1}),
        two(layout, {0, layout.parameters().size() - 1});
    for (const auto* subset : {&all, &one, &two, &all}) {
      for (const auto kind :
           {CurvatureKind::gauss_newton, CurvatureKind::hessian, CurvatureKind::fisher}) {
        INFO(subset->size() << " parameters, kind " << static_cast<int>(kind));
        CHECK(agree(kind, *subset));
      }
    }
    // One more for each kind's graph.
    CHECK(kept.cost() == Approx(3.0 + 4 * 2.0 + 8 * 4.0 / 3.0));
    CHECK(fresh.cost() == Approx(4 * 3.0 + 8 * 7.0 / 3.0));
  }
}

TEST_CASE("Operators of operators are what their formulas say") {
  const auto matrix = random_vector(36, 1).view({6, 6});
  const DenseOperator a(matrix + matrix.t());
  const auto dense = to_dense(a);
  const auto d = random_vector(6, 2);
  CHECK(relative(to_dense(ScaledOperator(a, d)), at::diag(d).mm(dense).mm(at::diag(d))) < 1e-15);
  const auto index = at::tensor({4, 1}, at::kLong);
  CHECK(at::equal(to_dense(RestrictedOperator(a, index)),
                  dense.index_select(0, index).index_select(1, index)));
}

TEST_CASE("A bad objective is one error") {
  Setup setup(tiny_models()[0]);
  setup.batches[0].targets.fill_(kIgnoredTarget);
  CHECK_THROWS_WITH(setup.curvature(ProductMethod::kept_graph),
                    Contains("of the 1 batches that are measured a mask leaves no target"));
  Setup infinite(tiny_models()[0]);
  {
    at::NoGradGuard no_grad;
    infinite.store->parameters().fill_(std::numeric_limits<double>::quiet_NaN());
  }
  auto curvature = infinite.curvature(ProductMethod::kept_graph);
  CHECK_THROWS_WITH(curvature.gradient(),
                    Contains("the loss at these parameters is") && Contains("nan"));
  const auto layout = setup.spec->layout();
  CHECK_THROWS_WITH(ParameterSubset::matching(
                        layout, [](const auto&) { return false; }, "role router, layer 7"),
                    Contains("role router, layer 7: no tensor of the model matches"));
}

// The allocator's own count against the plan. Kernels' scratch is beside it: a few percent at sizes
// where a tensor of activations is some kilobytes.
TEST_CASE("The plan knows the memory of products") {
  const SmallModel small{
      "gpt2",
      "gpt2",
      {{"vocab_size", 300}, {"block_size", 48}, {"n_layer", 2}, {"n_head", 2}, {"n_embd", 48}}};
  const auto spec = small.spec();
  for (const auto method :
       {ProductMethod::kept_graph, ProductMethod::fresh_graph, ProductMethod::finite_difference}) {
    for (const auto kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
      auto generator = make_generator(1, RandomStream::data);
      const std::vector<Batch> batches(3, {at::randint(300, {4, 48}, generator, at::kLong),
                                           at::randint(300, {4, 48}, generator, at::kLong)});
      const auto plan = product_memory(*spec, at::kFloat, batches[0], 3, {method, kind});
      MemoryMeter meter(at::kCPU);
      ParameterStore store(spec->layout(), at::kCPU);
      store.initialize(1);
      const auto model = spec->build(store);
      Curvature curvature(*model, store, batches, method);
      const ParameterSubset all(store.layout());
      const CurvatureOperator a(curvature, kind, all);
      measure_only(kind, curvature);
      if (is_difference(method)) curvature.difference_step(all);
      const auto v = at::ones({a.columns()});
      auto y = at::empty_like(v);
      CHECK(curvature.loss() > 0.0);
      a.apply(v, y);
      a.apply(v, y);
      INFO("method " << static_cast<int>(method) << " kind " << static_cast<int>(kind));
      CHECK(double(plan.peak) == Approx(double(meter.peak_allocated())).epsilon(0.03));
      CHECK(plan.peak >= plan.model + plan.resident);
    }
  }
}

TEST_CASE("Without graphs of the Hessian its products are what they are") {
  SmallCurvature small;
  Curvature without(*small.model, small.store, {small_batch(small.small)});
  without.leave_out_hessian_graphs();
  const ParameterSubset all(small.store.layout());
  const auto v = at::randn({all.size()}, at::kDouble);
  auto expected = at::empty_like(v), y = at::empty_like(v);
  CHECK(without.loss() == small.curvature->loss());
  small.curvature->hessian_product(all, v, all, expected);
  without.hessian_product(all, v, all, y);
  CHECK(at::allclose(y, expected, 1e-12, 1e-14));
  CHECK(without.cost() == 1.0 + 3.0);  // the gradient, and a fresh graph's product
}

// What is as long as the parameters: weights, the gradients' buffer, the gradient and a copy of
// what is moved, and for a product two vectors, for the step three. Activations are small beside
// them.
TEST_CASE("Differences take seven vectors, and in files all but the model") {
  const SmallModel small{
      "gpt2",
      "gpt2",
      {{"vocab_size", 100}, {"block_size", 4}, {"n_layer", 12}, {"n_head", 2}, {"n_embd", 96}}};
  const auto spec = small.spec();
  const auto vector = double(spec->layout().size()) * 4.0;
  const auto tokens = at::zeros({1, 4}, at::kLong);
  for (const auto method : {ProductMethod::finite_difference, ProductMethod::central_difference}) {
    ProductKind kind{method, CurvatureKind::hessian};
    const auto memory = product_memory(*spec, at::kFloat, {tokens, tokens}, 1, kind);
    CHECK(double(memory.peak) / vector == Approx(7.0).margin(0.2));
    CHECK(memory.files == 0);
    kind.files_from = spec->layout().size() * 2;
    const auto beside = product_memory(*spec, at::kFloat, {tokens, tokens}, 1, kind);
    CHECK(double(beside.files) / vector == Approx(5.0).margin(1e-9));
    CHECK(double(beside.peak) / vector == Approx(2.0).margin(0.3));
    CHECK(beside.resident == memory.resident);
  }
}

TEST_CASE("Products with a batch for every thread have the bits of one thread") {
  const auto threads = at::get_num_threads();
  for (const auto& small : tiny_models()) {
    INFO(small.name);
    Setup setup(small);
    const auto first = setup.batches[0], second = with_flipped_targets(first);
    setup.batches = {first, second, first, second, second};  // two threads: two, two and one
    const ParameterSubset all(setup.spec->layout());
    const auto v = random_vector(all.size(), 5);
    for (const auto kind :
         {CurvatureKind::hessian, CurvatureKind::gauss_newton, CurvatureKind::fisher}) {
      std::vector<at::Tensor> products;
      for (const int count : {1, 2, 2}) {
        at::set_num_threads(count);
        auto curvature = setup.curvature(ProductMethod::kept_graph);
        products.push_back(CurvatureOperator(curvature, kind, all)(v));
      }
      CHECK(products[0].abs().max().item<double>() > 0.0);
      CHECK(at::equal(products[0], products[1]));
      CHECK(at::equal(products[0], products[2]));
    }
  }
  at::set_num_threads(threads);
}
