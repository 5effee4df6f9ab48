// A quadratic with a block-diagonal Hessian of known eigenvalues, for studies of optimizers:
//   f(w) = 1/2 sum_b w_b^T H_b w_b,  H_b = Q_b diag(lambda_b) Q_b^T,  w ~ N(0, I) at the start
// with a random orthogonal Q_b. Inside a block the eigenvalues are in equal ratios from its lowest
// to `block_condition` times that; the blocks' lowest are in equal ratios, too, such that the
// smallest of all eigenvalues is 1 and the largest `condition` (Zhang et al., arXiv 2406.16793,
// 2.2, where every block has three values 30 times). Reads no data; every tensor is one block.
//
// It is a model like the others: the features are w, the head is the constant matrix R with
// R^T R = H / 2, and the loss is ||R w||^2.
#include <ATen/ATen.h>

#include <cmath>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/models/layout_builder.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kMostParameters = 30'000;  // a matrix of 7.2 GB

struct QuadraticOptions {
  std::int64_t blocks = 3;
  std::int64_t block_size = 30;
  double condition = 1000.0;
  double block_condition = 8.0;
  std::int64_t problem = 1;
};

// i-th of n numbers from 1 to `last` in equal ratios.
double ratio_step(double last, std::int64_t i, std::int64_t n) {
  return n > 1 ? std::pow(last, double(i) / double(n - 1)) : 1.0;
}

at::Tensor eigenvalues(const QuadraticOptions& o, std::int64_t block) {
  const double lowest = ratio_step(o.condition / o.block_condition, block, o.blocks);
  auto values = at::empty({o.block_size}, at::kDouble);
  for (std::int64_t i = 0; i < o.block_size; ++i) {
    values[i] = lowest * ratio_step(o.block_condition, i, o.block_size);
  }
  return values;
}

// diag(lambda / 2)^(1/2) Q^T, Q from the QR decomposition of a Gaussian matrix.
at::Tensor root(const QuadraticOptions& o, std::int64_t block) {
  auto generator = make_generator(static_cast<std::uint64_t>(o.problem), RandomStream::data,
                                  static_cast<std::uint64_t>(block));
  const auto gaussian = at::randn({o.block_size, o.block_size}, generator, at::kDouble);
  const auto q = std::get<0>(at::linalg_qr(gaussian));
  return (eigenvalues(o, block) / 2.0).sqrt().unsqueeze(1) * q.t();
}

std::string tensor_name(std::int64_t block) { return fmt::format("blocks.{}.point", block); }

class Quadratic : public Model {
 public:
  Quadratic(const QuadraticOptions& o, const ParameterStore& store) {
    std::vector<at::Tensor> roots;
    for (std::int64_t b = 0; b < o.blocks; ++b) {
      points_.push_back(store.tensor(tensor_name(b)));
      roots.push_back(root(o, b));
    }
    head_.weight = at::block_diag(roots).to(store.master_options());
  }

  at::Tensor features(const at::Tensor& inputs, ForwardContext&) const override {
    return at::cat(points_).view({1, -1}).expand({inputs.size(0), -1});
  }
  const Linear& head() const override { return head_; }
  const OutputLoss& output_loss() const override { return squared_norm_loss(); }
  at::Tensor loss(const Batch& batch, ForwardContext& context) const override {
    const auto z = logits(batch.inputs, context);
    return output_loss().mean(z, batch.targets, at::full({}, batch.targets.numel(), z.options()));
  }

 private:
  std::vector<at::Tensor> points_;
  Linear head_;
};

class QuadraticSpec : public ModelSpec {
 public:
  std::string family() const override { return "quadratic"; }
  std::string doc() const override {
    return "a quadratic with blocks of known eigenvalues, on no_data";
  }

  void visit(FieldVisitor& v) override {
    v.integer({"blocks", "dense blocks of the Hessian, a tensor each"}, options_.blocks, {1, 1000});
    v.integer({"block_size", "parameters of a block"}, options_.block_size, {1, 2000});
    v.real({"condition", "largest eigenvalue; the smallest one is 1"}, options_.condition,
           {1.0, 1e12});
    v.real({"block_condition", "ratio of the largest to the smallest one of a block"},
           options_.block_condition, {1.0, 1e12});
    v.integer({"problem", "number of the random rotations"}, options_.problem,
              {0, std::numeric_limits<std::int64_t>::max()});
    v.check("block_condition", options_.block_condition <= options_.condition
                                   ? ""
                                   : fmt::format("{} is above model.condition, {}",
                                                 options_.block_condition, options_.condition));
    v.check("block_size", options_.blocks * options_.block_size <= kMostParameters
                              ? ""
                              : fmt::format("{} x {} blocks are above {} parameters, whose whole "
                                            "matrix is held",
                                            options_.block_size, options_.blocks, kMostParameters));
  }

  void adapt_to(const DataShape& data) override {
    require_input(data.inputs == DataShape::Inputs::vectors && data.features == 1,
                  "model quadratic reads no data: data.kind no_data");
  }
  std::int64_t context_length() const override { return 0; }

  ParameterLayout layout() const override {
    LayoutBuilder builder;
    for (std::int64_t b = 0; b < options_.blocks; ++b) {
      builder.matrix(tensor_name(b), ParameterRole::other, b, {options_.block_size, 1}, 1.0)
          .released = ReleasedTreatment::whole;
    }
    return builder.finish();
  }

  std::unique_ptr<Model> build(const ParameterStore& store) const override {
    return std::make_unique<Quadratic>(options_, store);
  }
  std::unique_ptr<ModelSpec> clone() const override {
    return std::make_unique<QuadraticSpec>(*this);
  }

 private:
  QuadraticOptions options_;
};

}  // namespace

std::unique_ptr<ModelSpec> make_quadratic() { return std::make_unique<QuadraticSpec>(); }

}  // namespace blockwise
