#include "experiments/curvature/block_probes.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "core/base/random_stream.hpp"
#include "experiments/curvature/block_eigenvectors.hpp"
#include "experiments/curvature/hessian_plan.hpp"
#include "hessian/saved_tensors.hpp"
#include "hessian/spectral_function.hpp"

namespace blockwise {
namespace {

class Probe {
 public:
  Probe(const MeasurementScope& scope, MeasurementProgress& progress)
      : scope_(scope), progress_(progress) {}

  bool run(BlockGroup& group, std::int64_t p) {
    std::vector<BlockMeasurement*> left;
    for (auto& work : group) {
      const auto found = progress_.probes.find({work->index, p});
      if (found == progress_.probes.end()) {
        left.push_back(work.get());
      } else {
        take_probe(*work, found->second);
      }
    }
    std::vector<std::unique_ptr<Lanczos>> processes;
    for (auto* work : left) processes.push_back(make_process(*work, p));
    if (!run_processes(left, processes, p)) return false;
    try {
      for (std::size_t i = 0; i < left.size(); ++i) record_probe(*left[i], *processes[i], p);
    } catch (const Stopped&) {  // in the products that confirm eigenpairs
      save(left, processes, p);
      throw;
    }
    scope_.forget_state();
    return true;
  }

 private:
  std::string process_name(const BlockMeasurement& work, std::int64_t p) const {
    return fmt::format("step-{}-block-{}-probe-{}", scope_.step, work.index, p);
  }

  std::unique_ptr<Lanczos> make_process(BlockMeasurement& work, std::int64_t p) {
    auto generator = make_generator(scope_.config.probe_seed(), RandomStream::probe,
                                    static_cast<std::uint64_t>(p));
    const auto start = at::randn({work.block.size()}, generator, at::kDouble).to(work.a.options());
    const LanczosOptions options{steps_of(scope_.config, work.block),
                                 most_steps_of(scope_.config, work.block),
                                 scope_.config.lanczos_reorthogonalisation(), work.check.noise};
    auto process = std::make_unique<Lanczos>(work.a, start, options);
    if (scope_.has_state()) {
      const auto group = fmt::format("/{}", process_name(work, p));
      load_state(scope_.state, [&](const Hdf5File& file) {
        if (file.has(group)) process->load(file, group);
      });
    }
    process->extend(first_depth(options.steps, options.most_steps, process->steps()));
    return process;
  }

  bool run_processes(const std::vector<BlockMeasurement*>& works,
                     const std::vector<std::unique_ptr<Lanczos>>& processes, std::int64_t p) {
    std::vector<Lanczos*> all;
    for (const auto& process : processes) all.push_back(process.get());
    bool go_on = true;
    do {
      run_in_lockstep(
          all,
          [&](const auto& which, const auto& directions, auto& products) {
            multiply(works, which, directions, products);
          },
          [&](std::int64_t) {
            go_on = !scope_.stopped();
            const bool due = all.front()->steps() % scope_.config.save_every == 0 || !go_on;
            if (due) save(works, processes, p);
            return go_on;
          });
    } while (go_on && deepen(works, all));
    const bool done = std::ranges::all_of(all, [](const auto* l) { return l->done(); });
    return go_on || (done && !deepen(works, all));
  }

  void save(const std::vector<BlockMeasurement*>& works,
            const std::vector<std::unique_ptr<Lanczos>>& processes, std::int64_t p) const {
    if (scope_.state.empty()) return;
    std::vector<std::pair<std::string, const Lanczos*>> named;
    for (std::size_t i = 0; i < works.size(); ++i) {
      named.emplace_back(process_name(*works[i], p), processes[i].get());
    }
    save_lanczos(scope_.state, named);
  }

  // Gives more steps to the processes whose quadrature some function needs deeper; whether any.
  bool deepen(const std::vector<BlockMeasurement*>& works,
              const std::vector<Lanczos*>& processes) const {
    bool any = false;
    for (std::size_t i = 0; i < works.size(); ++i) {
      auto& process = *processes[i];
      const auto most = most_steps_of(scope_.config, works[i]->block);
      if (process.steps() >= most || process.broke_down() || suffices(*works[i], process)) continue;
      process.extend(next_depth(process.steps(), most));
      any = true;
    }
    return any;
  }

  bool suffices(const BlockMeasurement& work, const Lanczos& process) const {
    const auto quadrature = gauss_quadrature(process.tridiagonal());
    return std::ranges::all_of(scope_.config.functions, [&](const auto& name) {
      return is_deep_enough(quadrature, spectral_function(name).with(scope_.config.damping),
                            work.block.size(), scope_.config.probes, scope_.config.function_error,
                            scope_.smallest_possible());
    });
  }

  // Several blocks: every batch's graph serves all of them.
  void multiply(const std::vector<BlockMeasurement*>& works, const std::vector<std::size_t>& which,
                const std::vector<at::Tensor>& directions, std::vector<at::Tensor>& products) {
    const bool shared =
        which.size() > 1 && scope_.config.curvature_kind() == CurvatureKind::hessian;
    std::vector<HessianProduct> packed;
    for (std::size_t k = 0; k < which.size(); ++k) {
      auto& work = *works[which[k]];
      if (!shared) {
        work.a.apply(directions[k], products[k]);
        continue;
      }
      const auto& subset = work.block.subset;
      packed.push_back({subset, work.block.embed(directions[k]), subset,
                        at::empty({subset.size()}, work.a.options())});
    }
    if (!shared) return;
    scope_.curvature.hessian_products(packed);
    for (std::size_t k = 0; k < which.size(); ++k) {
      products[k].copy_(works[which[k]]->block.extract(packed[k].y));
      scope_.tell_product(works[which[k]]->block.name);
    }
  }

  void record_probe(BlockMeasurement& work, const Lanczos& process, std::int64_t p) {
    HessianRows rows;
    const ProbeRow probe{scope_.step, work.index, p, process.steps(), process.broke_down()};
    rows.probes.push_back(probe);
    const auto quadrature = gauss_quadrature(process.tridiagonal());
    for (std::size_t i = 0; i < quadrature.nodes.size(); ++i) {
      rows.quadrature.push_back({scope_.step, work.index, p, quadrature.nodes[i],
                                 quadrature.weights[i], quadrature.residuals[i]});
    }
    progress_.quadratures[work.index][p] = quadrature;
    if (p == 0 && scope_.config.eigensolver == "lanczos") {
      const auto pairs = process.pairs(scope_.config.eigenpairs, SpectrumEnd::both,
                                       /*confirm=*/true, scope_.config.eigen_tolerance);
      add_pairs(rows, scope_.step, work.index, pairs, work.product_error);
      hand_on_eigenvectors(scope_, work, pairs);
    }
    scope_.sinks.rows(rows);
    take_probe(work, probe);
  }

  // The sums that a probe of an earlier attempt counts in, too.
  void take_probe(BlockMeasurement& work, const ProbeRow& row) {
    work.density.probes.push_back(progress_.quadratures[work.index][row.probe]);
    work.summary.products += row.lanczos_steps;
    const bool confirms = scope_.config.eigensolver == "lanczos" &&
                          scope_.config.lanczos_reorthogonalisation() != Reorthogonalisation::none;
    if (row.probe == 0 && confirms) {
      work.summary.products += std::min(2 * scope_.config.eigenpairs, row.lanczos_steps);
    }
  }

  const MeasurementScope& scope_;
  MeasurementProgress& progress_;
};

}  // namespace

bool run_probe(const MeasurementScope& scope, MeasurementProgress& progress, BlockGroup& group,
               std::int64_t p) {
  return Probe(scope, progress).run(group, p);
}

}  // namespace blockwise
