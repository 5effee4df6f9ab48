#include "experiments/curvature/part_eigenpairs.hpp"

#include <ATen/ATen.h>

#include "core/io/hdf5_state.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/part_eigenvectors.hpp"
#include "hessian/dense_eigenpairs.hpp"
#include "hessian/probe_vectors.hpp"
#include "hessian/spectra_eigenpairs.hpp"
#include "hessian/thick_restart.hpp"

namespace blockwise {
namespace {

// No pairs where it was stopped.
EigenpairResult restarted(const MeasurementScope& scope, PartMeasurement& work,
                          const at::Tensor& start, const EigenpairOptions& options) {
  const auto group = fmt::format("/step-{}-block-{}-pairs", scope.step, work.index);
  ThickRestart process(work.a, start, options);
  if (scope.has_state()) {
    load_state(scope.state, [&](const Hdf5File& file) {
      if (file.has(group)) process.load(Hdf5StateReader(file, group));
    });
  }
  const bool ended = process.run([&](std::int64_t products) {
    const bool go_on = !scope.stopped();
    if (!scope.state.empty() && (!go_on || products % scope.config.lanczos.save_every == 0)) {
      save_state(scope.state, [&](Hdf5File& file) { process.save(Hdf5StateWriter(file, group)); });
    }
    return go_on;
  });
  return ended ? process.result() : EigenpairResult{};
}

}  // namespace

bool find_eigenpairs(const MeasurementScope& scope, PartMeasurement& work) {
  const auto start =
      gaussian(work.part.size(),
               probe_generator(scope.seed(ProbeStream::lanczos), ProbePlace::eigenpair_start),
               work.a.options());
  auto options = scope.config.eigenpair_options(work.check.noise);
  options.keepers = scope.keepers;
  const bool ours = scope.config.pairs.solver == "thick_restart";
  const auto found = pairs_from_matrix(scope.config, work.part)
                         ? dense_eigenpairs(work.kept, options)
                     : ours ? restarted(scope, work, start, options)
                            : spectra_eigenpairs(work.kept, start, options,
                                                 [&](std::int64_t) { return !scope.stopped(); });
  if (found.pairs.empty()) return false;
  work.summary.products += found.products + std::ssize(found.pairs);
  work.summary.copies_found = found.copies_found ? 1 : 0;
  add_pairs(work.rows, scope.step, work.index, found.pairs, work.product_error);
  hand_on_eigenvectors(scope, work, found.pairs);
  return true;
}

}  // namespace blockwise
