#include "experiments/curvature/hessian_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "experiments/curvature/block_eigenpairs.hpp"
#include "experiments/curvature/block_estimates.hpp"
#include "experiments/curvature/block_preconditioning.hpp"
#include "experiments/curvature/block_probes.hpp"
#include "experiments/curvature/block_truth.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/hessian_relations.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;

class Measurement {
 public:
  Measurement(const MeasurementScope& scope, const HessianRows& done)
      : scope_(scope), progress_(done, scope.step) {}

  bool run() {
    if (!scope_.tables.symmetries.empty() && !progress_.symmetries) symmetries();
    const auto count = scope_.tables.blocks.size();
    const auto side_by_side = static_cast<std::size_t>(scope_.config.lockstep);
    for (std::size_t b = 0; b < count; b += side_by_side) {
      if (scope_.stopped() || !blocks(b, std::min(count, b + side_by_side))) return false;
    }
    if (scope_.config.distances && !progress_.distances) distances();
    if (scope_.stopped() || (scope_.config.coupling_products > 0 && !couplings())) return false;
    return energies();
  }

 private:
  void symmetries() {
    HessianRows rows;
    const auto checks = check_symmetries(
        scope_.curvature, 12, [watch = scope_.watch("symmetries")] { watch.leave_if_stopped(); });
    for (std::size_t i = 0; i < checks.size(); ++i) {
      rows.symmetries.push_back({scope_.step, static_cast<std::int64_t>(i), checks[i].error});
      scope_.tell_product("symmetries");
    }
    scope_.sinks.rows(rows);
  }

  bool blocks(std::size_t begin, std::size_t end) {
    const auto start = Clock::now();
    BlockGroup group;
    for (auto b = begin; b < end; ++b) {
      if (progress_.blocks.count(static_cast<std::int64_t>(b)) > 0) continue;
      group.push_back(std::make_unique<BlockMeasurement>(scope_, b));
      check_block(scope_, *group.back());
    }
    if (scope_.config.exact) {
      for (auto& work : group) measure_exactly(scope_, progress_, *work);
    } else if (!estimated(group)) {
      return false;
    }
    for (auto& work : group) {
      work->summary.seconds = std::chrono::duration<double>(Clock::now() - start).count();
      finish(*work);
    }
    return true;
  }

  bool estimated(BlockGroup& group) {
    const auto& c = scope_.config;
    for (std::int64_t p = 0; c.lanczos_steps > 0 && p < c.probes && wants_probe(scope_, group);
         ++p) {
      if (scope_.stopped() || !run_probe(scope_, progress_, group, p)) return false;
    }
    for (auto& work : group) {
      const bool own_solver = c.eigensolver != "lanczos" && c.eigenpairs > 0;
      if (own_solver && !find_eigenpairs(scope_, *work)) return false;
      if (!c.functions.empty()) record_functions(scope_, *work, work->density);
      if (c.trace_products > 0) estimate_trace(scope_, *work);
      if (c.diagonal_products > 0) estimate_vectors(scope_, *work);
      if (c.preconditioning) estimate_preconditioning(scope_, *work);
      if (scope_.stopped()) return false;
    }
    return true;
  }

  // Rows of the block are complete with its summary.
  void finish(BlockMeasurement& work) {
    auto& row = work.summary;
    const auto method = scope_.config.product_method();
    row.gradients =
        static_cast<double>(row.products) * product_cost(method, scope_.config.curvature_kind());
    if (is_difference(method) &&
        first_of_subset(scope_.tables.blocks, static_cast<std::size_t>(work.index))) {
      row.gradients += calibration_cost(method);
    }
    row.peak_bytes = scope_.sinks.peak_bytes ? scope_.sinks.peak_bytes() : 0;
    work.rows.summary.push_back(row);
    scope_.sinks.rows(work.rows);
    work.kept.forget();
    scope_.forget_state();
  }

  void distances() {
    HessianRows rows;
    const auto density_of = [&](std::size_t b) {
      SpectralDensity density;
      for (const auto& [p, probe] : progress_.quadratures[static_cast<std::int64_t>(b)]) {
        density.probes.push_back(probe);
      }
      return density;
    };
    for (std::size_t i = 0; i < scope_.tables.blocks.size(); ++i) {
      for (std::size_t j = i + 1; j < scope_.tables.blocks.size(); ++j) {
        const auto p = density_of(i), q = density_of(j);
        if (p.probes.empty() || q.probes.empty()) continue;
        const double error = scope_.config.exact ? 0.0 : jensen_shannon_error(p, q);
        const auto count = std::min(p.probes.size(), q.probes.size());
        const double t = count < 2 ? kUnknown : student_t_quantile(double(count - 1));
        rows.distances.push_back({scope_.step, static_cast<std::int64_t>(i),
                                  static_cast<std::int64_t>(j), jensen_shannon(p, q), error,
                                  scope_.config.exact ? 0.0 : t * error});
      }
    }
    scope_.sinks.rows(rows);
  }

  bool couplings() {
    for (std::size_t j = 0; j < scope_.tables.blocks.size(); ++j) {
      if (progress_.couplings.count(static_cast<std::int64_t>(j)) > 0) continue;
      if (scope_.stopped()) return false;
      scope_.sinks.rows(coupling_column(scope_, j));
    }
    return true;
  }

  bool energies() {
    const auto& layout = scope_.curvature.store().layout();
    for (std::size_t t = 0; t < layout.blocks().size() && !scope_.config.partitions.empty(); ++t) {
      if (progress_.energies.count(static_cast<std::int64_t>(t)) > 0) continue;
      if (!wants_energies(scope_.config, layout.blocks()[t])) continue;
      if (scope_.stopped()) return false;
      scope_.sinks.rows(tensor_energies(scope_, t));
    }
    return true;
  }

  const MeasurementScope& scope_;
  MeasurementProgress progress_;
};

}  // namespace

bool measure_hessian(const MeasurementTask& task, const HessianRows& done,
                     const MeasurementSinks& sinks, const StopQuery& stop) {
  const MeasurementScope scope{task, sinks, stop};
  try {
    return Measurement(scope, done).run();
  } catch (const Stopped&) {
    return false;
  }
}

}  // namespace blockwise
