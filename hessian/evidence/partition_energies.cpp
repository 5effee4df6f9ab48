#include "hessian/evidence/partition_energies.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {

PartitionProbes::PartitionProbes(const LinearOperator& a, std::vector<VectorSection> sections,
                                 std::vector<EnergyLevel> levels, const CodePlan& plan)
    : matrix_(a), sections_(std::move(sections)), levels_(std::move(levels)), plan_(plan) {
  require_input(plan.vectors >= 2 && plan.codes >= 2,
                "{} vectors with {} codes each, at least 2 of both are needed", plan.vectors,
                plan.codes);
  const auto device = a.options().device();
  for (auto& level : levels_) {
    check_equal(level.labels.numel(), a.rows(), "labels of an operator's rows");
    level.labels = level.labels.to(device);
  }
  inside_ = at::zeros({std::ssize(levels_), plan.vectors, std::ssize(sections_)}, at::kDouble);
  diagonal_sums_ =
      at::zeros({kDiagonalGroups, a.rows()}, at::TensorOptions(at::kDouble).device(device));
  diagonal_squares_ = at::zeros({std::ssize(sections_)}, at::kDouble);
}

std::int64_t PartitionProbes::products() const {
  return std::ssize(levels_) * plan_.vectors * plan_.codes;
}

bool PartitionProbes::run(const std::function<void()>& observe,
                          const std::function<bool()>& after) {
  while (done_ < plan_.vectors) {
    probe(done_++, observe);
    if (done_ < plan_.vectors && !after()) return false;
  }
  return true;
}

at::Tensor PartitionProbes::section_sums(const at::Tensor& x) const {
  std::vector<double> sums;
  for (const auto& s : sections_) sums.push_back(x.narrow(0, s.begin, s.size).sum().item<double>());
  return at::tensor(sums, at::kDouble);
}

void PartitionProbes::probe(std::int64_t vector, const std::function<void()>& observe) {
  // Signs are drawn on the host, the same for every device; sums of vectors stay where the products
  // are.
  const auto device = matrix_.options().device();
  const auto v = signs(matrix_.columns(), plan_.seed, vector, 0).to(device);
  auto diagonal = at::zeros_like(v);
  for (std::int64_t l = 0; l < std::ssize(levels_); ++l) {
    const auto& level = levels_[static_cast<std::size_t>(l)];
    auto sum = at::zeros_like(v);
    auto squares = at::zeros({std::ssize(sections_)}, at::kDouble);
    for (std::int64_t k = 0; k < plan_.codes; ++k) {
      // y^k = s^k . A (s^k . v), one sign per block of this level
      const auto code =
          signs(level.block_count, plan_.seed, vector, 1 + l * plan_.codes + k).to(device);
      const auto coded = code.index_select(0, level.labels);
      const auto y = matrix_((coded * v).to(matrix_.options())).to(at::kDouble).mul_(coded);
      sum += y;
      squares += section_sums(y.square());
      if (observe) observe();
    }
    // mean over k != l of y^k . y^l, section by section: unbiased for the energy inside the blocks
    const double pairs = double(plan_.codes * (plan_.codes - 1));
    inside_[l][vector].copy_((section_sums(sum.square()) - squares) / pairs);
    // v . y^k has the mean diag(A) whatever the code: the mean over codes and levels
    diagonal.addcmul_(sum, v, 1.0 / double(plan_.codes * std::ssize(levels_)));
  }
  diagonal_sums_.select(0, vector % kDiagonalGroups) += diagonal;
  diagonal_squares_ += section_sums(diagonal.square());
}

std::int64_t PartitionProbes::vectors_of(std::int64_t group) const {
  return (done_ - group + kDiagonalGroups - 1) / kDiagonalGroups;
}

// Products of different groups' means are unbiased; without one group after the other.
at::Tensor PartitionProbes::diagonal_error() const {
  const auto groups = std::min(done_, kDiagonalGroups);
  if (groups < 3) return at::zeros({std::ssize(sections_)}, at::kDouble);
  std::vector<at::Tensor> means, without;
  auto sum = at::zeros_like(diagonal_sums_[0]);
  for (std::int64_t g = 0; g < groups; ++g) {
    means.push_back(diagonal_sums_[g] / double(vectors_of(g)));
    sum += means.back();
  }
  // With the group means d_g, S = sum_g d_g:  sum over g != h of d_g . d_h = |S|^2 - sum_g |d_g|^2,
  // and without group g, |S - d_g|^2 - sum_h |d_h|^2 + |d_g|^2.
  auto squares = at::zeros({std::ssize(sections_)}, at::kDouble);
  for (const auto& mean : means) squares += section_sums(mean.square());
  for (const auto& mean : means) {
    without.push_back(section_sums((sum - mean).square()) - squares + section_sums(mean.square()));
  }
  // Jackknife: sqrt((n - 1) / n sum_g (t_(g) - mean)^2) = sqrt((n - 1) var)
  const auto estimates = at::stack(without) / double((groups - 1) * (groups - 2));
  return (estimates.var(0, /*unbiased=*/false) * double(groups - 1)).sqrt();
}

// Estimates of the diagonal from different v have independent noise: their products leave it out.
PartitionEnergies PartitionProbes::result() const {
  PartitionEnergies energies;
  for (std::int64_t l = 0; l < std::ssize(levels_); ++l) {
    energies.inside.push_back(inside_[l].narrow(0, 0, done_));
  }
  // mean over v != w of d_v . d_w = (|sum_v d_v|^2 - sum_v |d_v|^2) / (n (n - 1))
  const double pairs = double(done_ * std::max<std::int64_t>(1, done_ - 1));
  energies.diagonal = (section_sums(diagonal_sums_.sum(0).square()) - diagonal_squares_) / pairs;
  energies.diagonal_error = diagonal_error();
  const auto groups = std::min(done_, kDiagonalGroups);
  for (std::int64_t g = 0; g < groups; ++g) {
    energies.diagonals.push_back((diagonal_sums_[g] / double(vectors_of(g))).to(at::kCPU));
  }
  return energies;
}

void PartitionProbes::save(const StateWriter& state) const {
  state.number("rows", matrix_.rows());
  state.number("sections", std::ssize(sections_));
  state.number("levels", std::ssize(levels_));
  state.number("done", done_);
  state.array("inside", inside_, "samples by level, vector and section");
  state.array("diagonal_sums", diagonal_sums_,
              "estimates of the diagonal, summed, by group of vectors");
  state.array("diagonal_squares", diagonal_squares_, "their squares by section");
}

void PartitionProbes::load(const StateReader& state) {
  expect_number(state, "rows", matrix_.rows());
  expect_number(state, "sections", std::ssize(sections_));
  expect_number(state, "levels", std::ssize(levels_));
  const auto done = read_count(state, "done", plan_.vectors);
  read_into(state, "inside", inside_);
  read_into(state, "diagonal_sums", diagonal_sums_);
  read_into(state, "diagonal_squares", diagonal_squares_);
  done_ = done;
}

}  // namespace blockwise
