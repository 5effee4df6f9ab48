// How strongly the parts of a Hessian are coupled: norms of the blocks off its diagonal.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/statistics.hpp"
#include "hessian/curvature_operators.hpp"
#include "hessian/hessian_parts.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {

struct CouplingPlan {
  std::int64_t products = 2;  // Rademacher vectors, at least 2
  bool exact = false;         // unit vectors instead: one product per element of the part
  std::uint64_t seed = 0;
  CurvatureKind kind = CurvatureKind::hessian;  // of the matrix H
};

// ||H_ij||_F^2 of part j with every part i, among them its own; [parts]. E_j embeds part j:
//   estimated   mean over Rademacher z of ||(H E_j z)_i||^2, whose expectation is ||H_ij||_F^2
//   exact       sum over unit vectors e_k of ||(H E_j e_k)_i||^2, with a standard error of 0
// z depends on the seed, j and its number. One product serves all parts; the watch is asked before
// and told after each. Throws Stopped where it says so, InputError for fewer than 2 products.
std::vector<SampleMean> squared_coupling_norms(const std::vector<HessianPart>& parts,
                                               Curvature& curvature, std::size_t j,
                                               const CouplingPlan& plan, const WorkWatch& watch);

}  // namespace blockwise
