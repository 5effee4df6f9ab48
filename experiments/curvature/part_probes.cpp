#include "experiments/curvature/part_probes.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "core/io/hdf5_state.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "experiments/curvature/part_eigenvectors.hpp"
#include "hessian/probe_vectors.hpp"
#include "hessian/spectral_function.hpp"

namespace blockwise {
namespace {

// The parts whose probe `number` is run, with a process each.
struct ProbeProcesses {
  std::vector<PartMeasurement*> works;
  std::vector<std::unique_ptr<Lanczos>> processes;
  std::int64_t number;

  bool done() const {
    return std::ranges::all_of(processes, [](const auto& process) { return process->done(); });
  }
};

std::string state_group(const MeasurementScope& scope, const PartMeasurement& work,
                        std::int64_t p) {
  return fmt::format("/step-{}-block-{}-probe-{}", scope.step, work.index, p);
}

// Its start depends on the seed and p alone; a state that was left is taken up.
std::unique_ptr<Lanczos> make_process(const MeasurementScope& scope, PartMeasurement& work,
                                      std::int64_t p) {
  const auto generator =
      probe_generator(scope.seed(ProbeStream::lanczos), static_cast<std::uint64_t>(p));
  const auto start = gaussian(work.part.size(), generator, work.a.options());
  const LanczosOptions options{
      steps_of(scope.config, work.part), most_steps_of(scope.config, work.part),
      scope.config.lanczos_reorthogonalisation(), work.check.noise, scope.keepers};
  auto process = std::make_unique<Lanczos>(work.a, start, options);
  if (scope.has_state()) {
    load_state(scope.state, [&](const Hdf5File& file) {
      const auto group = state_group(scope, work, p);
      if (file.has(group)) process->load(Hdf5StateReader(file, group));
    });
  }
  process->extend(first_depth(options.steps, options.most_steps, process->steps()));
  return process;
}

void save(const MeasurementScope& scope, const ProbeProcesses& probes) {
  if (scope.state.empty()) return;
  save_state(scope.state, [&](Hdf5File& file) {
    for (std::size_t i = 0; i < probes.works.size(); ++i) {
      const auto group = state_group(scope, *probes.works[i], probes.number);
      probes.processes[i]->save(Hdf5StateWriter(file, group));
    }
  });
}

// Whether the quadrature is right for every function that is asked for.
bool suffices(const MeasurementScope& scope, const PartMeasurement& work, const Lanczos& process) {
  const DepthGoal goal = {work.part.size(), scope.config.lanczos.probes,
                          scope.config.spectral.error, scope.smallest_possible()};
  const auto quadrature = gauss_quadrature(process.tridiagonal());
  return std::ranges::all_of(scope.config.spectral.functions, [&](const auto& name) {
    return is_deep_enough(quadrature, spectral_function(name).with(scope.config.spectral.damping),
                          goal);
  });
}

// Gives more steps to the processes whose quadrature some function needs deeper; whether any.
bool deepen(const MeasurementScope& scope, const ProbeProcesses& probes) {
  bool any = false;
  for (std::size_t i = 0; i < probes.works.size(); ++i) {
    auto& process = *probes.processes[i];
    const auto most = most_steps_of(scope.config, probes.works[i]->part);
    if (process.steps() >= most || process.broke_down()) continue;
    if (suffices(scope, *probes.works[i], process)) continue;
    process.extend(next_depth(process.steps(), most));
    any = true;
  }
  return any;
}

// products[k] = A directions[k] for part which[k]. Of several parts of the Hessian every batch's
// graph serves all.
void multiply(const MeasurementScope& scope, const std::vector<PartMeasurement*>& works,
              const std::vector<std::size_t>& which, const std::vector<at::Tensor>& directions,
              std::vector<at::Tensor>& products) {
  const bool shared = which.size() > 1 && scope.config.curvature_kind() == CurvatureKind::hessian;
  std::vector<HessianProduct> packed;
  for (std::size_t k = 0; k < which.size(); ++k) {
    auto& work = *works[which[k]];
    if (!shared) {
      work.a.apply(directions[k], products[k]);
      continue;
    }
    const auto& subset = work.part.subset;
    packed.push_back({subset, work.part.embed(directions[k]), subset,
                      at::empty({subset.size()}, work.a.options())});
  }
  if (!shared) return;
  scope.curvature.hessian_products(packed);
  for (std::size_t k = 0; k < which.size(); ++k) {
    products[k].copy_(works[which[k]]->part.extract(packed[k].y));
    scope.tell_product(works[which[k]]->part.name);
  }
}

// One step of every process at a time, up to their depth. False: stopped, with the state saved.
bool run_to_depth(const MeasurementScope& scope, const ProbeProcesses& probes) {
  std::vector<Lanczos*> all;
  for (const auto& process : probes.processes) all.push_back(process.get());
  bool go_on = true;
  run_in_lockstep(
      all,
      [&](const auto& which, const auto& directions, auto& products) {
        multiply(scope, probes.works, which, directions, products);
      },
      [&](std::int64_t) {
        go_on = !scope.stopped();
        // Of those that still go on: a part that is small is done sooner.
        const auto steps = std::ranges::max(all, {}, &Lanczos::steps)->steps();
        if (!go_on || steps % scope.config.lanczos.save_every == 0) save(scope, probes);
        return go_on;
      });
  return go_on;
}

// What a part's sums take of a probe, of this attempt or an earlier one.
void count_probe(const MeasurementScope& scope, PartMeasurement& work, const ProbeRow& row,
                 const Quadrature& quadrature) {
  work.density.probes.push_back(quadrature);
  work.summary.products += row.lanczos_steps;
  const bool confirms = scope.config.pairs.solver == "lanczos" &&
                        scope.config.lanczos_reorthogonalisation() != Reorthogonalisation::none;
  if (row.probe == 0 && confirms) {
    work.summary.products += std::min(2 * scope.config.pairs.count, row.lanczos_steps);
  }
}

// The process as rows: its quadrature, and of the first probe the pairs.
HessianRows rows_of_probe(const MeasurementScope& scope, PartMeasurement& work,
                          const Lanczos& process, const ProbeRow& probe,
                          const Quadrature& quadrature) {
  HessianRows rows;
  rows.probes.push_back(probe);
  for (std::size_t i = 0; i < quadrature.nodes.size(); ++i) {
    rows.quadrature.push_back({scope.step, work.index, probe.probe, quadrature.nodes[i],
                               quadrature.weights[i], quadrature.residuals[i]});
  }
  if (probe.probe == 0 && scope.config.pairs.solver == "lanczos") {
    const auto vectors =
        wants_eigenvectors(scope) ? Lanczos::Vectors::kept : Lanczos::Vectors::dropped;
    const auto pairs =
        process.pairs(scope.config.pairs.count, SpectrumEnd::both, Lanczos::Residuals::computed,
                      scope.config.pairs.tolerance, vectors);
    add_pairs(rows, scope.step, work.index, pairs, work.product_error);
    hand_on_eigenvectors(scope, work, pairs);
  }
  return rows;
}

}  // namespace

bool run_probe(const MeasurementScope& scope, MeasurementProgress& progress, PartGroup& group,
               std::int64_t p) {
  ProbeProcesses probes{{}, {}, p};
  for (auto& work : group) {
    const auto found = progress.probes.find({work->index, p});
    if (found == progress.probes.end()) {
      probes.works.push_back(work.get());
      probes.processes.push_back(make_process(scope, *work, p));
    } else {
      count_probe(scope, *work, found->second, progress.quadratures[work->index][p]);
    }
  }
  if (probes.works.empty()) return true;  // a state that is there is of what comes later
  while (run_to_depth(scope, probes) && deepen(scope, probes)) {
  }
  // A stop that came with the last product leaves nothing undone.
  if (!probes.done() || deepen(scope, probes)) return false;
  try {
    for (std::size_t i = 0; i < probes.works.size(); ++i) {
      auto& work = *probes.works[i];
      const auto& process = *probes.processes[i];
      const auto quadrature = gauss_quadrature(process.tridiagonal());
      const ProbeRow row{scope.step, work.index, p, process.steps(), process.broke_down()};
      progress.quadratures[work.index][p] = quadrature;
      scope.sinks.rows(rows_of_probe(scope, work, process, row, quadrature));
      count_probe(scope, work, row, quadrature);
    }
  } catch (const Stopped&) {  // in the products that confirm eigenpairs
    save(scope, probes);
    throw;
  }
  scope.forget_state();
  return true;
}

}  // namespace blockwise
