#include "hessian/evidence/best_rate.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "hessian/lanczos.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
namespace {

CurvatureEnds ends_of(const RitzValues& ritz) {
  const auto& values = ritz.values;
  const bool upper = std::abs(values.back()) >= std::abs(values.front());
  CurvatureEnds found;
  found.largest = upper ? values.back() : -values.front();
  found.smallest = values.front();
  found.smallest_error = std::abs(ritz.last.front());
  // Bounds on the two eigenvalues move the sum by no more than their sum.
  found.error = std::abs(upper ? ritz.last.back() : ritz.last.front()) +
                (found.smallest > 0.0 ? found.smallest_error : 0.0);
  return found;
}

}  // namespace

double CurvatureEnds::sum(double damping) const {
  return largest + std::max(smallest, 0.0) + 2.0 * damping;
}

double CurvatureEnds::best_rate(double damping) const {
  return sum(damping) > 0.0 ? 2.0 / sum(damping) : 0.0;
}

double CurvatureEnds::condition(double damping) const {
  if (largest <= 0.0) return 1.0;
  return (1.0 + damping) / (std::max(smallest, 0.0) / largest + damping);
}

double CurvatureEnds::condition_error(double damping) const {
  if (largest <= 0.0 || smallest <= 0.0) return 0.0;
  const double least = std::max(smallest - smallest_error, 0.0) / largest + damping;
  return (smallest / largest + damping) / least - 1.0;
}

CurvatureEnds curvature_ends(const LinearOperator& a, const CurvatureEndsOptions& options) {
  const auto start =
      gaussian(a.rows(), probe_generator(options.seed, ProbePlace::best_rate_start), a.options());
  LanczosOptions lanczos;
  lanczos.steps = std::min(options.most_products, a.rows());
  Lanczos process(a, start, lanczos);
  process.run([&](std::int64_t steps) {
    const auto ends = ends_of(ritz_values(process.tridiagonal()));
    return steps < 3 || ends.error > options.tolerance * ends.sum(0.0);
  });
  auto found = ends_of(ritz_values(process.tridiagonal()));
  found.products = process.steps();
  if (process.broke_down()) found.error = found.smallest_error = 0.0;
  return found;
}

}  // namespace blockwise
