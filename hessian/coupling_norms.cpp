#include "hessian/coupling_norms.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

// ||y_i||^2 for every part i of a vector y = H E_j z over all parameters.
at::Tensor squared_norms(const std::vector<HessianPart>& parts, const ParameterSubset& all,
                         const at::Tensor& y) {
  const auto tensors = all.views(y);
  std::vector<double> squares;
  for (const auto& part : parts) {
    squares.push_back(part.of_tensors(tensors).to(at::kDouble).square().sum().item<double>());
  }
  return at::tensor(squares, at::kDouble);
}

// y = H E_j z over all parameters.
void product_with(Curvature& curvature, CurvatureKind kind, const HessianPart& part,
                  const at::Tensor& z, const ParameterSubset& all, const at::Tensor& y) {
  if (kind == CurvatureKind::hessian) {
    curvature.hessian_product(part.subset, part.embed(z), all, y);
    return;
  }
  const auto embedded = at::zeros_like(y);
  const auto places = all.views(embedded), values = part.subset.views(part.embed(z));
  for (std::size_t i = 0; i < values.size(); ++i) {
    places[part.subset.parameters()[i]].copy_(values[i]);
  }
  CurvatureOperator(curvature, kind, all).apply(embedded, y);
}

at::Tensor unit_vector(std::int64_t size, std::int64_t k) {
  auto e = at::zeros({size}, at::kDouble);
  e[k] = 1.0;
  return e;
}

}  // namespace

std::vector<SampleMean> squared_coupling_norms(const std::vector<HessianPart>& parts,
                                               Curvature& curvature, std::size_t j,
                                               const CouplingPlan& plan, const WorkWatch& watch) {
  require_input(plan.exact || plan.products >= 2, "{} products for a norm, at least 2 are needed",
                plan.products);
  const auto& from = parts[j];
  const ParameterSubset all(curvature.store().layout());
  auto y = at::empty({all.size()}, curvature.store().master_options());
  std::vector<at::Tensor> samples;  // of z: ||(H E_j z)_i||^2 [parts]
  for (std::int64_t k = 0; k < (plan.exact ? from.size() : plan.products); ++k) {
    const auto z = plan.exact ? unit_vector(from.size(), k)
                              : signs(from.size(), plan.seed, static_cast<std::int64_t>(j), k);
    watch.leave_if_stopped();
    product_with(curvature, plan.kind, from, z.to(y.options()), all, y);
    samples.push_back(squared_norms(parts, all, y));
    watch.tell();
  }
  const auto squares = at::stack(samples, 1);  // [parts, samples]
  std::vector<SampleMean> norms;
  for (std::int64_t i = 0; i < squares.size(0); ++i) {
    const auto of_part = squares.select(0, i);
    norms.push_back(plan.exact ? SampleMean{0, of_part.sum().item<double>()}
                               : mean_of_squares({of_part.data_ptr<double>(), samples.size()}));
  }
  return norms;
}

}  // namespace blockwise
