// Curvature against closed forms: regressions, a deep linear net, piecewise linear nets, tied
// weights.
#include <ATen/core/grad_mode.h>

#include "core/base/random_stream.hpp"
#include "core/curvature.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/dense.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// l = ||z - t||^2; targets [N, C]. A loss that is not one of the product's, with a known Hessian.
class SquaredErrorLoss : public OutputLoss {
 public:
  std::int64_t counted(const at::Tensor& targets) const override { return targets.size(0); }
  at::Tensor mean(const at::Tensor& z, const at::Tensor& targets,
                  const at::Tensor& count) const override {
    return (z - targets).square().sum() / count;
  }
  at::Tensor rows(const at::Tensor& z, const at::Tensor& targets) const override {
    return (z - targets).square().sum(1);
  }
  at::Tensor hessian_product(const at::Tensor&, const at::Tensor&, const at::Tensor& count,
                             const at::Tensor& u) const override {
    return 2.0 * u / count;
  }
};

const OutputLoss& squared_error_loss() {
  static const SquaredErrorLoss loss;
  return loss;
}

at::Tensor gaussian(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, RandomStream::probe);
  return at::randn(sizes, generator, at::kDouble);
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// Sums of some ten terms in double: 1e-15 relative, and a few orders of safety.
constexpr double kRounding = 1e-12;

// A model at random parameters in float64.
struct Point {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;

  Point(const std::string& family, const nlohmann::json& fields)
      : spec(model_spec(family, fields)),
        store(std::make_unique<ParameterStore>(spec->layout(), at::kCPU, at::kDouble)),
        model(spec->build(*store)) {
    set(0.5 * gaussian({store->layout().size()}, 1));
  }
  void set(const at::Tensor& parameters) {
    at::NoGradGuard no_grad;
    store->parameters().copy_(parameters);
  }
  at::Tensor parameter(std::size_t i) const { return store->tensors()[i].detach(); }

  at::Tensor dense(CurvatureKind kind, const Batch& batch,
                   const OutputLoss& loss = cross_entropy_loss(),
                   const std::vector<std::size_t>& tensors = {}) {
    Curvature curvature(*model, *store, {batch}, ProductMethod::kept_graph, loss);
    const auto subset = tensors.empty() ? ParameterSubset(store->layout())
                                        : ParameterSubset(store->layout(), tensors);
    return to_dense(CurvatureOperator(curvature, kind, subset));
  }
};

nlohmann::json mlp(std::int64_t inputs, const std::vector<std::int64_t>& hidden,
                   std::int64_t classes, const std::string& activation) {
  return {{"inputs", inputs},
          {"classes", classes},
          {"hidden", hidden},
          {"bias", false},
          {"activation", activation}};
}

Batch classified(std::int64_t examples, std::int64_t inputs, std::int64_t classes) {
  auto generator = make_generator(4, RandomStream::data);
  return {gaussian({examples, inputs}, 3), at::randint(classes, {examples}, generator, at::kLong)};
}

std::int64_t rank(const at::Tensor& matrix) {
  const auto values = symmetric_eigenvalues(matrix);
  const double largest = std::max(std::abs(values.front()), std::abs(values.back()));
  return std::ranges::count_if(values, [&](double x) { return std::abs(x) > 1e-9 * largest; });
}

// (1/N) sum (diag p - p p^T) (x) x x^T for weights [C, d], row-major.
at::Tensor softmax_regression_hessian(const at::Tensor& w, const at::Tensor& x) {
  const auto p = at::softmax(x.mm(w.t()), 1);
  auto h = at::zeros({w.numel(), w.numel()}, at::kDouble);
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    h += at::kron(at::diag(p[i]) - at::outer(p[i], p[i]), at::outer(x[i], x[i]));
  }
  return h / double(x.size(0));
}

// Squared Frobenius norms of the blocks of d x d.
at::Tensor block_energy(const at::Tensor& h, std::int64_t d) {
  const auto blocks = h.size(0) / d;
  return h.view({blocks, d, blocks, d}).square().sum({1, 3});
}

}  // namespace

TEST_CASE("Softmax regression: the Hessian is its closed form, and Gauss-Newton the same") {
  const std::int64_t inputs = 6, classes = 5;
  Point point("mlp", mlp(inputs, {}, classes, "relu"));
  const auto batch = classified(4, inputs, classes);
  const auto expected = softmax_regression_hessian(point.parameter(0), batch.inputs);
  const auto h = point.dense(CurvatureKind::hessian, batch);
  CHECK(relative(h, expected) < kRounding);
  CHECK(relative(point.dense(CurvatureKind::gauss_newton, batch), expected) < kRounding);
  CHECK(rank(h) == (classes - 1) * 4);  // four inputs in six dimensions
}

TEST_CASE("Softmax regression at 0: blocks of classes go by 1 / C exactly") {
  for (const std::int64_t classes : {2, 5, 20}) {
    Point point("mlp", mlp(4, {}, classes, "relu"));
    point.set(at::zeros({4 * classes}, at::kDouble));
    const auto energy =
        block_energy(point.dense(CurvatureKind::hessian, classified(9, 4, classes)), 4);
    const double off = energy[0][1].item<double>(), on = energy[0][0].item<double>();
    CHECK(std::sqrt(off / on) == Approx(1.0 / double(classes - 1)).epsilon(1e-10));
    const double inside = energy.diagonal().sum().item<double>();
    CHECK(1.0 - inside / energy.sum().item<double>() ==
          Approx(1.0 / double(classes)).epsilon(1e-10));
  }
}

TEST_CASE("Logistic regression: X^T D X / N between two classes' weights") {
  Point point("mlp", mlp(4, {}, 2, "relu"));
  const auto batch = classified(9, 4, 2);
  const auto& x = batch.inputs;
  const auto sigma = at::sigmoid(x.mv(point.parameter(0)[1] - point.parameter(0)[0]));
  const auto a = x.t().mm((sigma * (1.0 - sigma)).unsqueeze(1) * x) / 9.0;
  const auto h = point.dense(CurvatureKind::hessian, batch);
  CHECK(relative(h.slice(0, 0, 4).slice(1, 0, 4), a) < kRounding);
  CHECK(relative(h.slice(0, 0, 4).slice(1, 4, 8), -a) < kRounding);
}

TEST_CASE("Linear regression: 2 / N of the inputs' products, per output") {
  Point point("mlp", mlp(5, {}, 3, "linear"));
  const Batch batch{gaussian({7, 5}, 3), gaussian({7, 3}, 5)};
  const auto expected =
      at::kron(at::eye(3, at::kDouble), batch.inputs.t().mm(batch.inputs)) * (2.0 / 7.0);
  for (const auto kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
    CHECK(relative(point.dense(kind, batch, squared_error_loss()), expected) < kRounding);
  }
}

// For the loss (1/N) sum ||r||^2, r = W2 W1 x - t, with S = E x x^T and Omega = E r x^T, all times
// 2:
//   H11 = W2^T W2 (x) S,  H22 = I (x) W1 S W1^T,
//   H12[(a, b), (k, m)] = W2[k, a] (S W1^T)[b, m] + delta_am Omega[k, b].
TEST_CASE("A deep linear net: every block in closed form, and the ranks of its two parts") {
  struct Sizes {
    std::int64_t d, m, k, gauss_newton_rank, functional_rank;
  };
  for (const auto& [d, m, k, gn_rank, functional_rank] :
       {Sizes{5, 3, 4, 18, 24}, Sizes{6, 8, 3, 18, 48}}) {
    Point point("mlp", mlp(d, {m}, k, "linear"));
    const std::int64_t n = 20;
    const Batch batch{gaussian({n, d}, 3), gaussian({n, k}, 5)};
    const auto w1 = point.parameter(0), w2 = point.parameter(1);
    const auto residual = batch.inputs.mm(w1.t()).mm(w2.t()) - batch.targets;
    const auto s = batch.inputs.t().mm(batch.inputs) / double(n);
    const auto omega = residual.t().mm(batch.inputs) / double(n);
    const auto h11 = at::kron(w2.t().mm(w2), s);
    const auto h22 = at::kron(at::eye(k, at::kDouble), w1.mm(s).mm(w1.t()));
    auto h12 = at::einsum("ka,bm->abkm", {w2, s.mm(w1.t())});
    h12 = h12 + at::einsum("am,kb->abkm", {at::eye(m, at::kDouble), omega});
    h12 = h12.reshape({m * d, k * m});
    const auto expected = 2.0 * at::cat({at::cat({h11, h12}, 1), at::cat({h12.t(), h22}, 1)}, 0);
    const auto h = point.dense(CurvatureKind::hessian, batch, squared_error_loss());
    const auto gn = point.dense(CurvatureKind::gauss_newton, batch, squared_error_loss());
    CHECK(relative(h, expected) < kRounding);
    CHECK(rank(gn) == gn_rank);
    CHECK(rank(h - gn) == functional_rank);
  }
}

// With all other tensors fixed a ReLU net is piecewise linear in each one.
TEST_CASE("ReLU nets: a tensor's own block of the Hessian is that of Gauss-Newton") {
  auto fields = mlp(4, {6, 5}, 3, "relu");
  fields["bias"] = true;
  Point point("mlp", fields);
  const auto batch = classified(8, 4, 3);
  for (std::size_t t = 0; t < point.store->layout().parameters().size(); ++t) {
    const auto h = point.dense(CurvatureKind::hessian, batch, cross_entropy_loss(), {t});
    const auto gn = point.dense(CurvatureKind::gauss_newton, batch, cross_entropy_loss(), {t});
    CHECK(relative(h, gn) < kRounding);
  }
  // Across tensors it is not.
  CHECK(relative(point.dense(CurvatureKind::hessian, batch),
                 point.dense(CurvatureKind::gauss_newton, batch)) > 1e-2);
}

// H_tied = R^T H_untied R, where R copies the embedding into the head.
TEST_CASE("Tied weights: the Hessian is the untied one, summed over the copies") {
  nlohmann::json fields = {
      {"vocab_size", 7}, {"block_size", 5}, {"n_layer", 1}, {"n_head", 2}, {"n_embd", 4}};
  Point tied("gpt2", fields);
  fields["tie_word_embeddings"] = false;
  Point untied("gpt2", fields);
  const auto& from = tied.store->layout();
  const auto& to = untied.store->layout();
  auto r = at::zeros({to.size(), from.size()}, at::kDouble);
  for (const auto& block : to.parameters()) {
    const auto source = std::ranges::find_if(from.parameters(), [&](const auto& candidate) {
      return candidate.name == block.name ||
             std::ranges::count(candidate.tied_names, block.name) > 0;
    });
    REQUIRE(source != from.parameters().end());
    r.narrow(0, block.offset, block.size())
        .narrow(1, source->offset, block.size())
        .fill_diagonal_(1.0);
  }
  CHECK(to.size() == from.size() + 28);
  untied.set(r.mv(tied.store->parameters().detach()));
  auto generator = make_generator(4, RandomStream::data);
  const Batch batch{at::randint(7, {2, 5}, generator, at::kLong),
                    at::randint(7, {2, 5}, generator, at::kLong)};
  const auto expected = r.t().mm(untied.dense(CurvatureKind::hessian, batch)).mm(r);
  CHECK(relative(tied.dense(CurvatureKind::hessian, batch), expected) < kRounding);
}

TEST_CASE("The same examples twice have the same Hessian, ignored targets have none") {
  Point point("mlp", mlp(4, {5}, 3, "tanh"));
  const auto batch = classified(6, 4, 3);
  const auto h = point.dense(CurvatureKind::hessian, batch);
  const Batch repeated{at::cat({batch.inputs, batch.inputs}),
                       at::cat({batch.targets, batch.targets})};
  CHECK(relative(point.dense(CurvatureKind::hessian, repeated), h) < kRounding);
  // Half of the targets ignored: the other half alone.
  auto half = batch;
  half.targets = batch.targets.clone();
  half.targets.slice(0, 3, 6).fill_(kIgnoredTarget);
  const Batch rest{batch.inputs.slice(0, 0, 3), batch.targets.slice(0, 0, 3)};
  CHECK(relative(point.dense(CurvatureKind::hessian, half),
                 point.dense(CurvatureKind::hessian, rest)) < kRounding);
}

TEST_CASE("Hidden units in another order: the Hessian in that order") {
  Point point("mlp", mlp(4, {6}, 3, "tanh"));
  const auto batch = classified(8, 4, 3);
  const auto h = point.dense(CurvatureKind::hessian, batch);
  const auto order = at::tensor({3, 0, 5, 1, 4, 2}, at::kLong);
  // Rows of the first matrix and columns of the second one change places.
  const auto places = at::arange(4 * 6 + 6 * 3, at::kLong);
  const auto permuted =
      at::cat({places.narrow(0, 0, 24).view({6, 4}).index_select(0, order).reshape({-1}),
               places.narrow(0, 24, 18).view({3, 6}).index_select(1, order).reshape({-1})});
  point.set(point.store->parameters().detach().index_select(0, permuted));
  CHECK(relative(point.dense(CurvatureKind::hessian, batch),
                 h.index_select(0, permuted).index_select(1, permuted)) < kRounding);
}
