// Checks that run before any long computation, and are recorded with it: what a product gets wrong,
// and whether it is the product of this model at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/linear_operator.hpp"
#include "core/curvature.hpp"

namespace blockwise {

struct OperatorCheck {
  double noise = 0.0;         // ||A v - A v again|| / ||A v||: 0 for deterministic products
  double asymmetry = 0.0;     // |u . A v - v . A u| / (||u|| ||A v||)
  double nonlinearity = 0.0;  // ||A (2 u - 3 v) - 2 A u + 3 A v|| / ||A (2 u - 3 v)||
};

// Gaussian u and v from the stream of the seed. Four products.
OperatorCheck check_operator(const LinearOperator& a, std::uint64_t seed = 0);

// A way to scale parameters that leaves the loss unchanged: w_i -> exp(t d_i) w_i for every t.
// Differentiating the gradient along it gives, with D = diag(d), for every such symmetry and at any
// scale of model
//   H (D w) = -D grad L        (a reference is not needed)
struct ScalingSymmetry {
  std::string name;
  at::Tensor d;  // [parameters] of 1, -1 and 0, on the store's device and in its dtype
};

// Those of a transformer's layout, from roles, heads and order of its blocks:
//   query +, key -        per key head with the queries that share it, biases along
//   value +, output -     per value head: rows of the value, columns of the output
//   norm +, inputs -      gain and bias of a norm against the columns of the matrices that read it
// Layouts with norms on heads (QK-norm) have no query-key symmetry. Empty for other layouts.
std::vector<ScalingSymmetry> scaling_symmetries(const ParameterStore& store);

struct SymmetryCheck {
  std::string name;
  double error;  // ||H (D w) + D g|| / (||H (D w)|| + ||D g||)
};

// Numbers and names of those that check_symmetries() looks at: evenly picked where there are more
// than `most`.
std::vector<std::size_t> checked_symmetries(const ParameterLayout& layout, std::size_t most = 12);
std::vector<std::string> checked_symmetry_names(const ParameterLayout& layout,
                                                std::size_t most = 12);

// One product per symmetry. Catches heads cut at
// wrong places, a loss that is scaled differently in gradient and product, and the error of
// differences.
// `before` is called before each of them and may throw.
std::vector<SymmetryCheck> check_symmetries(Curvature& curvature, std::size_t most = 12,
                                            const std::function<void()>& before = {});

}  // namespace blockwise
