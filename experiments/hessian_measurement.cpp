#include "experiments/hessian_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "core/random_stream.hpp"
#include "experiments/hessian_plan.hpp"
#include "experiments/hessian_relations.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"
#include "hessian/guards.hpp"
#include "hessian/product_memory.hpp"
#include "hessian/saved_tensors.hpp"
#include "hessian/spectra_eigenpairs.hpp"
#include "hessian/spectral_density.hpp"
#include "hessian/spectral_function.hpp"
#include "hessian/thick_restart.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kAdamEps = 1e-8;
constexpr std::int64_t kFewestProbes = 10;                     // the error of fewer is luck
constexpr std::uint64_t kEigenStart = std::uint64_t{1} << 40;  // no probe's number
constexpr double kLeftOut = 0.05;  // of a quadrature, see condition_number()

// A block while it is measured.
struct Work {
  Work(Curvature& curvature, CurvatureKind kind, const HessianBlock& its_block, std::size_t place,
       const MeasurementSinks& sinks)
      : block(its_block),
        index(static_cast<std::int64_t>(place)),
        plain(curvature, kind, its_block),
        a(plain, sinks, its_block.name) {}

  const HessianBlock& block;
  std::int64_t index;
  BlockOperator plain;
  ObservedOperator a;
  OperatorCheck check;
  SummaryRow summary;
  HessianRows rows;  // recorded with the summary
  SpectralDensity density;
};

class Measurement {
 public:
  Measurement(const HessianConfig& config, const HessianTables& tables, Curvature& curvature,
              std::int64_t step, const HessianRows& done, std::filesystem::path state,
              const MeasurementSinks& sinks)
      : c_(config),
        tables_(tables),
        curvature_(curvature),
        step_(step),
        state_(std::move(state)),
        sinks_(sinks) {
    take_done(done);
  }

  bool run() {
    if (!tables_.symmetries.empty() && !done_symmetries_) symmetries();
    const auto count = tables_.blocks.size();
    const auto side_by_side = static_cast<std::size_t>(c_.lockstep);
    for (std::size_t b = 0; b < count; b += side_by_side) {
      if (stopped() || !blocks(b, std::min(count, b + side_by_side))) return false;
    }
    if (c_.distances && !done_distances_) distances();
    if (stopped() || (c_.coupling_products > 0 && !couplings())) return false;
    return energies();
  }

 private:
  // ---- what is there already

  void take_done(const HessianRows& done) {
    for (const auto& row : done.summary) {
      if (row.step == step_) done_blocks_.insert(row.block);
    }
    for (const auto& row : done.probes) {
      if (row.step == step_) done_probes_[{row.block, row.probe}] = row;
    }
    for (const auto& row : done.quadrature) {
      if (row.step != step_) continue;
      auto& probe = densities_[row.block][row.probe];
      probe.nodes.push_back(row.node);
      probe.weights.push_back(row.weight);
    }
    const auto here = [&](const auto& rows) {
      return std::ranges::any_of(rows, [&](const auto& row) { return row.step == step_; });
    };
    done_symmetries_ = here(done.symmetries);
    done_distances_ = here(done.distances);
    for (const auto& row : done.couplings) {
      if (row.step == step_) done_couplings_.insert(row.column_block);
    }
    for (const auto& row : done.energies) {
      if (row.step == step_) done_energies_.insert(row.tensor);
    }
  }

  bool stopped() const { return sinks_.stop && sinks_.stop(); }

  // ---- guards

  void symmetries() {
    HessianRows rows;
    const auto checks = check_symmetries(curvature_);
    for (std::size_t i = 0; i < checks.size(); ++i) {
      rows.symmetries.push_back({step_, static_cast<std::int64_t>(i), checks[i].error});
      if (sinks_.product) sinks_.product("symmetries");
    }
    sinks_.rows(rows);
  }

  void check(Work& work) {
    auto& row = work.summary;
    if (c_.guards) {
      work.check = check_operator(work.a, probe_seed(c_));
      row.noise = work.check.noise;
      row.asymmetry = work.check.asymmetry;
      row.nonlinearity = work.check.nonlinearity;
      row.products += kCheckProducts;
    }
    row.step = step_;
    row.block = work.index;
    row.loss = curvature_.loss();
    row.gradient_norm = block_gradient(work.block).norm().item<double>();
  }

  at::Tensor block_gradient(const HessianBlock& block) {
    const ParameterSubset all(curvature_.store().layout());
    const auto parts = all.views(curvature_.gradient());
    std::vector<at::Tensor> chosen;
    for (const auto tensor : block.subset.blocks()) chosen.push_back(parts[tensor]);
    auto packed = at::empty({block.subset.size()}, curvature_.gradient().options());
    block.subset.pack(chosen, packed);
    return block.extract(packed);
  }

  // ---- blocks

  bool blocks(std::size_t begin, std::size_t end) {
    const auto start = Clock::now();
    std::vector<std::unique_ptr<Work>> group;
    for (auto b = begin; b < end; ++b) {
      if (done_blocks_.count(static_cast<std::int64_t>(b)) > 0) continue;
      group.push_back(
          std::make_unique<Work>(curvature_, c_.curvature_kind(), tables_.blocks[b], b, sinks_));
      check(*group.back());
    }
    if (c_.exact) {
      for (auto& work : group) exact(*work);
    } else if (!estimated(group)) {
      return false;
    }
    for (auto& work : group) {
      work->summary.seconds = std::chrono::duration<double>(Clock::now() - start).count();
      finish(*work);
    }
    return true;
  }

  bool estimated(std::vector<std::unique_ptr<Work>>& group) {
    for (std::int64_t p = 0; c_.lanczos_steps > 0 && p < c_.probes && wants_probe(group); ++p) {
      if (stopped() || !probe(group, p)) return false;
    }
    for (auto& work : group) {
      const bool own_solver = c_.eigensolver != "lanczos" && c_.eigenpairs > 0;
      if (own_solver && !eigenpairs(*work)) return false;
      if (!c_.functions.empty()) record_functions(*work, work->density);
      if (c_.trace_products > 0) trace(*work);
      if (c_.diagonal_products > 0) vectors(*work);
      if (c_.preconditioning) estimated_preconditioning(*work);
      if (stopped()) return false;
    }
    return true;
  }

  // Rows of the block are complete with its summary.
  void finish(Work& work) {
    auto& row = work.summary;
    row.gradients =
        static_cast<double>(row.products) * product_cost(c_.product_method(), c_.curvature_kind());
    if (curvature_.difference_error() > 0.0) row.difference_error = curvature_.difference_error();
    row.peak_bytes = sinks_.peak_bytes ? sinks_.peak_bytes() : 0;
    work.rows.summary.push_back(row);
    sinks_.rows(work.rows);
    if (!state_.empty()) std::filesystem::remove(state_);
  }

  // ---- one random start for every block of the group

  std::string process_name(const Work& work, std::int64_t p) const {
    return fmt::format("step-{}-block-{}-probe-{}", step_, work.index, p);
  }

  bool probe(std::vector<std::unique_ptr<Work>>& group, std::int64_t p) {
    std::vector<Work*> left;
    for (auto& work : group) {
      const auto found = done_probes_.find({work->index, p});
      if (found == done_probes_.end()) {
        left.push_back(work.get());
      } else {
        take_probe(*work, found->second);
      }
    }
    std::vector<std::unique_ptr<Lanczos>> processes;
    for (auto* work : left) processes.push_back(make_process(*work, p));
    if (!run_processes(left, processes, p)) return false;
    for (std::size_t i = 0; i < left.size(); ++i) record_probe(*left[i], *processes[i], p);
    if (!state_.empty()) std::filesystem::remove(state_);
    return true;
  }

  std::unique_ptr<Lanczos> make_process(Work& work, std::int64_t p) {
    auto generator =
        make_generator(probe_seed(c_), RandomStream::probe, static_cast<std::uint64_t>(p));
    const auto start = at::randn({work.block.size()}, generator, at::kDouble).to(work.a.options());
    const LanczosOptions options{steps_of(c_, work.block), c_.lanczos_reorthogonalisation(),
                                 work.check.noise};
    auto process = std::make_unique<Lanczos>(work.a, start, options);
    if (!state_.empty() && std::filesystem::exists(state_)) {
      const auto file = Hdf5File::open_for_reading(state_);
      const auto group = "/" + process_name(work, p);
      if (file.has(group)) process->load(file, group);
    }
    return process;
  }

  bool run_processes(const std::vector<Work*>& works,
                     const std::vector<std::unique_ptr<Lanczos>>& processes, std::int64_t p) {
    std::vector<Lanczos*> all;
    std::vector<std::pair<std::string, const Lanczos*>> named;
    for (std::size_t i = 0; i < works.size(); ++i) {
      all.push_back(processes[i].get());
      named.emplace_back(process_name(*works[i], p), processes[i].get());
    }
    bool go_on = true;
    run_in_lockstep(
        all,
        [&](const auto& which, const auto& directions, auto& products) {
          multiply(works, which, directions, products);
        },
        [&](std::int64_t) {
          go_on = !stopped();
          const bool due = all.front()->steps() % c_.save_every == 0 || !go_on;
          if (due && !state_.empty()) save_lanczos(state_, named);
          return go_on;
        });
    return go_on || std::ranges::all_of(all, [](const auto* l) { return l->done(); });
  }

  // Several blocks: every batch's graph serves all of them.
  void multiply(const std::vector<Work*>& works, const std::vector<std::size_t>& which,
                const std::vector<at::Tensor>& directions, std::vector<at::Tensor>& products) {
    const bool shared = which.size() > 1 && c_.curvature_kind() == CurvatureKind::hessian;
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
    curvature_.hessian_products(packed);
    for (std::size_t k = 0; k < which.size(); ++k) {
      products[k].copy_(works[which[k]]->block.extract(packed[k].y));
      if (sinks_.product) sinks_.product(works[which[k]]->block.name);
    }
  }

  void record_probe(Work& work, const Lanczos& process, std::int64_t p) {
    HessianRows rows;
    const ProbeRow probe{step_, work.index, p, process.steps(), process.broke_down()};
    rows.probes.push_back(probe);
    const auto ritz = ritz_values(process.tridiagonal());
    for (std::size_t i = 0; i < ritz.values.size(); ++i) {
      rows.quadrature.push_back({step_, work.index, p, ritz.values[i], ritz.first[i]});
    }
    densities_[work.index][p] = {ritz.values, ritz.first};
    if (p == 0 && c_.eigensolver == "lanczos") {
      add_pairs(rows, work, process.pairs(c_.eigenpairs, SpectrumEnd::both, /*confirm=*/true));
    }
    sinks_.rows(rows);
    take_probe(work, probe);
  }

  void add_pairs(HessianRows& rows, const Work& work, const std::vector<RitzPair>& pairs) const {
    std::int64_t top = 0, bottom = -1;
    for (const auto& pair : pairs) {
      const bool upper = top <= -1 - bottom;
      const auto index = upper ? top++ : bottom--;
      rows.eigenvalues.push_back({step_, work.index, index, pair.value, pair.residual_bound,
                                  pair.residual < 0.0 ? kUnknown : pair.residual});
    }
  }

  // The sums that a probe of an earlier attempt counts in, too.
  void take_probe(Work& work, const ProbeRow& row) {
    work.density.probes.push_back(densities_[work.index][row.probe]);
    work.summary.products += row.lanczos_steps;
    const bool confirms = c_.eigensolver == "lanczos" &&
                          c_.lanczos_reorthogonalisation() != Reorthogonalisation::none;
    if (row.probe == 0 && confirms) {
      work.summary.products += std::min(2 * c_.eigenpairs, row.lanczos_steps);
    }
  }

  // ---- pairs by a solver of their own

  bool eigenpairs(Work& work) {
    auto generator = make_generator(probe_seed(c_), RandomStream::probe, kEigenStart);
    const auto start = at::randn({work.block.size()}, generator, at::kDouble).to(work.a.options());
    const auto options = c_.eigenpair_options(work.check.noise);
    const bool ours = c_.eigensolver == "thick_restart";
    const auto found = ours ? restarted(work, start, options)
                            : spectra_eigenpairs(work.a, start, options,
                                                 [this](std::int64_t) { return !stopped(); });
    if (found.pairs.empty()) return false;
    work.summary.products += found.products + std::ssize(found.pairs);
    add_pairs(work.rows, work, found.pairs);
    return true;
  }

  // No pairs where it was stopped.
  EigenpairResult restarted(Work& work, const at::Tensor& start, const EigenpairOptions& options) {
    const auto group = fmt::format("step-{}-block-{}-pairs", step_, work.index);
    ThickRestart process(work.a, start, options);
    if (!state_.empty() && std::filesystem::exists(state_)) {
      const auto file = Hdf5File::open_for_reading(state_);
      if (file.has("/" + group)) process.load(file, "/" + group);
    }
    const bool ended = process.run([&](std::int64_t products) {
      const bool go_on = !stopped();
      if (!state_.empty() && (!go_on || products % c_.save_every == 0)) {
        save_state(state_, [&](Hdf5File& file) { process.save(file, "/" + group); });
      }
      return go_on;
    });
    return ended ? process.result() : EigenpairResult{};
  }

  // ---- traces of functions, trace, diagonal

  // As long as a function's error is above what was asked for.
  bool wants_probe(const std::vector<std::unique_ptr<Work>>& group) const {
    const auto wants = [&](const auto& work) {
      if (std::ssize(work->density.probes) < kFewestProbes) return true;
      return std::ranges::any_of(c_.functions, [&](const auto& name) {
        const auto share = mean_of(work->density, name);
        return share.standard_error > c_.function_error * std::abs(share.mean);
      });
    };
    if (c_.function_error <= 0.0 || c_.functions.empty()) return true;
    return std::ranges::any_of(group, wants);
  }

  SpectralDensity::Share mean_of(const SpectralDensity& density, const std::string& name) const {
    const auto& function = spectral_function(name);
    return density.mean_of([&](double x) { return function.value(x, c_.damping); });
  }

  // A spectrum that is not a density's but the truth has one probe and no error.
  void record_functions(Work& work, const SpectralDensity& density) const {
    const auto n = static_cast<double>(work.block.size());
    const auto probes = c_.exact ? 0 : std::ssize(density.probes);
    for (std::size_t f = 0; f < c_.functions.size(); ++f) {
      const auto share = mean_of(density, c_.functions[f]);
      const double error = probes == 1 ? kUnknown : n * share.standard_error;
      work.rows.functions.push_back(
          {step_, work.index, static_cast<std::int64_t>(f), n * share.mean, error, probes});
    }
  }

  void trace(Work& work) {
    const auto both = trace_and_norm(
        work.a, {c_.trace_products, c_.trace_error, probe_seed(c_) + 1}, c_.trace_estimator());
    auto& row = work.summary;
    row.trace = both.trace.value;
    row.trace_error = both.trace.standard_error;
    row.squared_frobenius = both.squared_frobenius_norm.value;
    row.squared_frobenius_error = both.squared_frobenius_norm.standard_error;
    row.products += both.trace.products;
  }

  void vectors(Work& work) {
    const auto found = diagonal_and_row_norms(
        work.a, {c_.diagonal_products, c_.diagonal_error, probe_seed(c_) + 3});
    work.summary.products += found.diagonal.products;
    if (sinks_.vectors) sinks_.vectors(static_cast<std::size_t>(work.index), found);
  }

  // ---- Adam's diagonal: D = (sqrt(v) + eps)^(-1/2) on both sides, v = g^2

  at::Tensor adam_scale(const HessianBlock& block) {
    return block_gradient(block).abs().add_(kAdamEps).rsqrt_();
  }

  void estimated_preconditioning(Work& work) {
    const auto diagonal = diagonal_share(work.a, {kDiagonalProducts, 0.0, probe_seed(c_) + 2});
    work.summary.products += diagonal.products;
    if (work.density.probes.empty()) return;
    const ScaledOperator scaled(work.a, adam_scale(work.block));
    const auto probes = std::ssize(work.density.probes);
    const auto after =
        spectral_density(scaled, {steps_of(c_, work.block), probes, probe_seed(c_),
                                  c_.lanczos_reorthogonalisation(), work.check.noise});
    work.summary.products += probes * steps_of(c_, work.block);
    const auto log_condition = [](const Quadrature& q) {
      return std::log(condition_number(q, kLeftOut));
    };
    std::vector<double> logs, ratios;
    for (std::size_t k = 0; k < after.probes.size(); ++k) {
      logs.push_back(log_condition(work.density.probes[k]));
      ratios.push_back(log_condition(after.probes[k]) - logs.back());
    }
    const auto before = mean_and_error(logs), ratio = mean_and_error(ratios);
    PreconditioningRow row{step_, work.index, diagonal.share, diagonal.standard_error};
    row.condition = std::exp(before.mean);
    row.condition_adam = std::exp(before.mean + ratio.mean);
    row.ratio = std::exp(ratio.mean);
    row.ratio_error = probes == 1 ? kUnknown : row.ratio * ratio.standard_error;
    row.left_out = kLeftOut;
    work.rows.preconditioning.push_back(row);
  }

  // ---- matrices

  void exact(Work& work) {
    const auto matrix = to_dense(work.a);
    if (sinks_.matrix) sinks_.matrix(static_cast<std::size_t>(work.index), matrix);
    const auto values = symmetric_eigenvalues(matrix);
    const auto n = static_cast<std::int64_t>(values.size());
    HessianRows rows;
    Quadrature spectrum{values, std::vector<double>(values.size(), 1.0 / double(n))};
    for (std::int64_t i = 0; i < n; ++i) {
      rows.eigenvalues.push_back(
          {step_, work.index, i, values[static_cast<std::size_t>(n - 1 - i)], 0.0, 0.0});
      rows.quadrature.push_back(
          {step_, work.index, 0, values[static_cast<std::size_t>(i)], 1.0 / double(n)});
    }
    densities_[work.index][0] = spectrum;
    auto& row = work.summary;
    row.trace = matrix.trace().item<double>();
    row.squared_frobenius = matrix.square().sum().item<double>();
    row.trace_error = row.squared_frobenius_error = 0.0;
    row.products += n;
    work.rows.append(rows);
    if (!c_.functions.empty()) record_functions(work, {{spectrum}, n});
    if (c_.preconditioning) exact_preconditioning(work, matrix, spectrum);
  }

  void exact_preconditioning(Work& work, const at::Tensor& matrix, const Quadrature& spectrum) {
    const auto d = adam_scale(work.block).to(at::kCPU, at::kDouble);
    const auto scaled = d.unsqueeze(1) * matrix * d.unsqueeze(0);
    const auto values = symmetric_eigenvalues(scaled);
    const Quadrature after{values, spectrum.weights};
    const double tau =
        matrix.diagonal().square().sum().item<double>() / matrix.square().sum().item<double>();
    const double before_adam = condition_number(spectrum, 0.0);
    const double after_adam = condition_number(after, 0.0);
    work.rows.preconditioning.push_back(
        {step_, work.index, tau, 0.0, before_adam, after_adam, after_adam / before_adam, 0.0, 0.0});
  }

  // ---- blocks beside each other

  void distances() {
    HessianRows rows;
    const auto density_of = [&](std::size_t b) {
      SpectralDensity density;
      for (const auto& [p, probe] : densities_[static_cast<std::int64_t>(b)]) {
        density.probes.push_back(probe);
      }
      return density;
    };
    for (std::size_t i = 0; i < tables_.blocks.size(); ++i) {
      for (std::size_t j = i + 1; j < tables_.blocks.size(); ++j) {
        const auto p = density_of(i), q = density_of(j);
        if (p.probes.empty() || q.probes.empty()) continue;
        const double error = c_.exact ? 0.0 : jensen_shannon_error(p, q);
        rows.distances.push_back({step_, static_cast<std::int64_t>(i), static_cast<std::int64_t>(j),
                                  jensen_shannon(p, q), error});
      }
    }
    sinks_.rows(rows);
  }

  bool couplings() {
    for (std::size_t j = 0; j < tables_.blocks.size(); ++j) {
      if (done_couplings_.count(static_cast<std::int64_t>(j)) > 0) continue;
      if (stopped()) return false;
      sinks_.rows(coupling_column(c_, tables_.blocks, curvature_, step_, j, sinks_));
    }
    return true;
  }

  // ---- partitions

  bool energies() {
    const auto& layout = curvature_.store().layout();
    for (std::size_t t = 0; t < layout.blocks().size() && !c_.partitions.empty(); ++t) {
      if (done_energies_.count(static_cast<std::int64_t>(t)) > 0) continue;
      if (!wants_energies(c_, layout.blocks()[t])) continue;
      if (stopped()) return false;
      sinks_.rows(tensor_energies(c_, tables_.rules, curvature_, step_, t, sinks_));
    }
    return true;
  }

  const HessianConfig& c_;
  const HessianTables& tables_;
  Curvature& curvature_;
  std::int64_t step_;
  std::filesystem::path state_;
  const MeasurementSinks& sinks_;
  std::set<std::int64_t> done_blocks_, done_couplings_, done_energies_;
  std::map<std::pair<std::int64_t, std::int64_t>, ProbeRow> done_probes_;
  std::map<std::int64_t, std::map<std::int64_t, Quadrature>> densities_;
  bool done_symmetries_ = false, done_distances_ = false;
};

}  // namespace

bool measure_hessian(const HessianConfig& config, const HessianTables& tables, Curvature& curvature,
                     std::int64_t step, const HessianRows& done, const std::filesystem::path& state,
                     const MeasurementSinks& sinks) {
  return Measurement(config, tables, curvature, step, done, state, sinks).run();
}

}  // namespace blockwise
