#include "experiments/curvature/part_truth.hpp"

#include <ATen/ATen.h>

#include "experiments/curvature/part_eigenvectors.hpp"
#include "experiments/curvature/part_estimates.hpp"
#include "experiments/curvature/part_preconditioning.hpp"
#include "hessian/dense.hpp"

namespace blockwise {

void measure_exactly(const MeasurementScope& scope, MeasurementProgress& progress,
                     PartMeasurement& work) {
  const auto matrix = to_dense(work.kept);
  if (scope.sinks.matrix) scope.sinks.matrix(static_cast<std::size_t>(work.index), matrix);
  // Eigenvectors cost several times the eigenvalues.
  const auto whole = scope.config.pairs.vectors > 0
                         ? symmetric_eigensystem(matrix)
                         : Eigensystem{symmetric_eigenvalues(matrix), {}};
  const auto& values = whole.values;
  if (scope.config.pairs.vectors > 0) hand_on_eigenvectors(scope, work, whole);
  const auto n = static_cast<std::int64_t>(values.size());
  HessianRows rows;
  // Columns with independent errors e, made symmetric, move an eigenvalue by 2 e at most, as the
  // norm of such a random matrix is.
  const double error = 2.0 * work.product_error;
  const Quadrature spectrum{values, std::vector<double>(values.size(), 1.0 / double(n)),
                            std::vector<double>(values.size(), 0.0)};
  for (std::int64_t i = 0; i < n; ++i) {
    rows.eigenvalues.push_back(
        {scope.step, work.index, i, values[static_cast<std::size_t>(n - 1 - i)], error, error, 1});
    rows.quadrature.push_back(
        {scope.step, work.index, 0, values[static_cast<std::size_t>(i)], 1.0 / double(n), 0.0});
  }
  progress.quadratures[work.index][0] = spectrum;
  auto& row = work.summary;
  row.trace = matrix.trace().item<double>();
  row.squared_frobenius = matrix.square().sum().item<double>();
  row.trace_error = row.squared_frobenius_error = 0.0;
  row.trace_low = row.trace_high = row.trace;
  row.squared_frobenius_low = row.squared_frobenius_high = row.squared_frobenius;
  row.copies_found = 1;
  row.products += n;
  work.rows.append(rows);
  if (!scope.config.spectral.functions.empty()) record_functions(scope, work, {{spectrum}, n});
  if (scope.config.preconditioning) exact_preconditioning(scope, work, matrix, spectrum);
}

}  // namespace blockwise
