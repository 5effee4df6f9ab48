#include "optimizers/newton_schulz.hpp"

#include <ATen/ATen.h>

namespace blockwise {

at::Tensor orthogonalized(const at::Tensor& x, std::int64_t steps, double eps) {
  constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
  const bool tall = x.size(0) > x.size(1);
  auto next = tall ? x.t() : x;
  next = next / next.norm().clamp_min(eps);
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto gram = next.mm(next.t());
    const auto polynomial = at::addmm(gram, gram, gram, kB, kC);
    next = at::addmm(next, polynomial, next, kA);
  }
  return tall ? next.t() : next;
}

}  // namespace blockwise
