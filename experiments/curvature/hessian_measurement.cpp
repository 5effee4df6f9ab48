#include "experiments/curvature/hessian_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/hessian_relations.hpp"
#include "experiments/curvature/part_eigenpairs.hpp"
#include "experiments/curvature/part_estimates.hpp"
#include "experiments/curvature/part_preconditioning.hpp"
#include "experiments/curvature/part_probes.hpp"
#include "experiments/curvature/part_truth.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;

// The guards of the whole model.
HessianRows symmetry_rows(const MeasurementScope& scope) {
  const auto watch = scope.watch("symmetries");
  const auto checks = check_symmetries(scope.curvature, 12, [&] { watch.leave_if_stopped(); });
  HessianRows rows;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    rows.symmetries.push_back({scope.step, static_cast<std::int64_t>(i), checks[i].error});
    watch.tell();
  }
  return rows;
}

// From random vectors: the group's probes side by side, then part by part what is asked for
// beside them. False: stopped.
bool estimate_parts(const MeasurementScope& scope, MeasurementProgress& progress,
                    PartGroup& group) {
  const auto& c = scope.config;
  for (std::int64_t p = 0; c.lanczos.steps > 0 && p < c.lanczos.probes && wants_probe(scope, group);
       ++p) {
    if (scope.stopped() || !run_probe(scope, progress, group, p)) return false;
  }
  for (auto& work : group) {
    const bool own_solver = c.pairs.solver != "lanczos" && c.pairs.count > 0;
    if (own_solver && !find_eigenpairs(scope, *work)) return false;
    if (!c.spectral.functions.empty()) record_functions(scope, *work, work->density);
    if (c.trace.products > 0) estimate_trace(scope, *work);
    if (c.diagonal.products > 0) estimate_vectors(scope, *work);
    if (c.preconditioning) estimate_preconditioning(scope, *work);
    if (scope.stopped()) return false;
  }
  return true;
}

// Rows of the part are complete with its summary.
void finish_part(const MeasurementScope& scope, PartMeasurement& work) {
  auto& row = work.summary;
  const auto method = scope.config.product_method();
  row.gradients =
      static_cast<double>(row.products) * product_cost(method, scope.config.curvature_kind());
  if (is_difference(method) &&
      first_of_subset(scope.tables.parts, static_cast<std::size_t>(work.index))) {
    row.gradients += calibration_cost(method);
  }
  row.peak_bytes = scope.sinks.peak_bytes ? scope.sinks.peak_bytes() : 0;
  work.rows.summary.push_back(row);
  scope.sinks.rows(work.rows);
  work.kept.forget();
  scope.forget_state();
}

// Blocks begin .. end - 1, those of an earlier attempt left out. False: stopped.
bool measure_parts(const MeasurementScope& scope, MeasurementProgress& progress, std::size_t begin,
                   std::size_t end) {
  const auto start = Clock::now();
  PartGroup group;
  for (auto b = begin; b < end; ++b) {
    if (progress.parts.count(static_cast<std::int64_t>(b)) > 0) continue;
    group.push_back(std::make_unique<PartMeasurement>(scope, b));
    check_part(scope, *group.back());
  }
  if (scope.config.exact) {
    for (auto& work : group) measure_exactly(scope, progress, *work);
  } else if (!estimate_parts(scope, progress, group)) {
    return false;
  }
  for (auto& work : group) {
    work->summary.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    finish_part(scope, *work);
  }
  return true;
}

SpectralDensity density_of(MeasurementProgress& progress, std::size_t part) {
  SpectralDensity density;
  for (const auto& [p, probe] : progress.quadratures[static_cast<std::int64_t>(part)]) {
    density.probes.push_back(probe);
  }
  return density;
}

// Of every pair of parts whose spectra are there.
HessianRows distance_rows(const MeasurementScope& scope, MeasurementProgress& progress) {
  HessianRows rows;
  for (std::size_t i = 0; i < scope.tables.parts.size(); ++i) {
    for (std::size_t j = i + 1; j < scope.tables.parts.size(); ++j) {
      const auto p = density_of(progress, i), q = density_of(progress, j);
      if (p.probes.empty() || q.probes.empty()) continue;
      const double error = scope.config.exact ? 0.0 : jensen_shannon_error(p, q);
      const auto count = std::min(p.probes.size(), q.probes.size());
      const double t = count < 2 ? kUnknown : student_t_quantile(double(count - 1));
      rows.distances.push_back({scope.step, static_cast<std::int64_t>(i),
                                static_cast<std::int64_t>(j), jensen_shannon(p, q), error,
                                scope.config.exact ? 0.0 : t * error});
    }
  }
  return rows;
}

// Guards; parts, some side by side; then what relates parts to each other and tensors to
// partitions. What an earlier attempt recorded is not measured again. False: stopped.
bool measure(const MeasurementScope& scope, MeasurementProgress& progress) {
  const auto& config = scope.config;
  if (!scope.tables.symmetries.empty() && !progress.symmetries) {
    scope.sinks.rows(symmetry_rows(scope));
  }
  const auto parts = scope.tables.parts.size();
  const auto side_by_side = static_cast<std::size_t>(config.lanczos.lockstep);
  for (std::size_t b = 0; b < parts; b += side_by_side) {
    const auto end = std::min(parts, b + side_by_side);
    if (scope.stopped() || !measure_parts(scope, progress, b, end)) return false;
  }
  if (config.distances && !progress.distances) scope.sinks.rows(distance_rows(scope, progress));
  if (scope.stopped()) return false;
  for (std::size_t j = 0; j < parts && config.couplings.products > 0; ++j) {
    if (progress.couplings.count(static_cast<std::int64_t>(j)) > 0) continue;
    if (scope.stopped()) return false;
    scope.sinks.rows(coupling_column(scope, j));
  }
  const auto& tensors = scope.curvature.store().layout().parameters();
  for (std::size_t t = 0; t < tensors.size() && !config.energies.partitions.empty(); ++t) {
    if (progress.energies.count(static_cast<std::int64_t>(t)) > 0) continue;
    if (!wants_energies(config, tensors[t])) continue;
    if (scope.stopped()) return false;
    scope.sinks.rows(tensor_energies(scope, t));
  }
  return true;
}

}  // namespace

bool measure_hessian(const MeasurementTask& task, const HessianRows& done,
                     const MeasurementSinks& sinks, const StopQuery& stop) {
  const MeasurementScope scope{task, sinks, stop};
  MeasurementProgress progress(done, scope.step);
  try {
    return measure(scope, progress);
  } catch (const Stopped&) {
    return false;
  }
}

}  // namespace blockwise
