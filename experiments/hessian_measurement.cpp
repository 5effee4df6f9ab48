#include "experiments/hessian_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "core/error.hpp"
#include "core/partition_rules.hpp"
#include "core/random_stream.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/dense.hpp"
#include "hessian/guards.hpp"
#include "hessian/product_memory.hpp"
#include "hessian/spectral_density.hpp"
#include "hessian/trace.hpp"

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kCheckProducts = 4;
constexpr std::int64_t kDiagonalProducts = 40;
constexpr double kAdamEps = 1e-8;
constexpr double kLeftOut = 0.05;  // of a quadrature, see condition_number()

std::uint64_t probe_seed(const HessianConfig& config) {
  return static_cast<std::uint64_t>(config.seed);
}

std::int64_t steps_of(const HessianConfig& config, const HessianBlock& block) {
  return std::min(config.lanczos_steps, block.size());
}

bool is_wanted(const HessianConfig& config, const ParameterBlock& block) {
  const auto role = [&](ParameterRole r) {
    return config.roles.empty() || std::ranges::count(config.roles, role_name(r)) > 0;
  };
  bool fits = role(block.role) && block.sections.empty();
  for (const auto& section : block.sections) fits = fits || role(section.role);
  const bool layer = config.layers.empty() || std::ranges::count(config.layers, block.layer) > 0;
  return fits && layer && block.is_matrix();
}

// Tells after every product; the sums of products are the caller's.
class ObservedOperator : public DerivedOperator {
 public:
  ObservedOperator(const LinearOperator& base, const MeasurementSinks& sinks, std::string what)
      : DerivedOperator(base), sinks_(sinks), what_(std::move(what)) {}
  void apply(const at::Tensor& x, const at::Tensor& y) const override {
    base_.apply(x, y);
    if (sinks_.product) sinks_.product(what_);
  }

 private:
  const MeasurementSinks& sinks_;
  std::string what_;
};

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
    for (std::int64_t p = 0; c_.lanczos_steps > 0 && p < c_.probes; ++p) {
      if (stopped() || !probe(group, p)) return false;
    }
    for (auto& work : group) {
      if (c_.trace_products > 0) trace(*work);
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
    row.peak_bytes = sinks_.peak_bytes ? sinks_.peak_bytes() : 0;
    HessianRows rows;
    rows.summary.push_back(row);
    sinks_.rows(rows);
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
    if (p == 0) add_pairs(rows, work, process);
    sinks_.rows(rows);
    take_probe(work, probe);
  }

  void add_pairs(HessianRows& rows, const Work& work, const Lanczos& process) const {
    std::int64_t top = 0, bottom = -1;
    for (const auto& pair : process.pairs(c_.eigenpairs, SpectrumEnd::both, /*confirm=*/true)) {
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
    const bool confirms = c_.lanczos_reorthogonalisation() != Reorthogonalisation::none;
    if (row.probe == 0 && confirms) {
      work.summary.products += std::min(2 * c_.eigenpairs, row.lanczos_steps);
    }
  }

  void trace(Work& work) {
    const auto both = trace_and_norm(work.a, {c_.trace_products, 0.0, probe_seed(c_) + 1});
    auto& row = work.summary;
    row.trace = both.trace.value;
    row.trace_error = both.trace.standard_error;
    row.squared_frobenius = both.squared_frobenius_norm.value;
    row.squared_frobenius_error = both.squared_frobenius_norm.standard_error;
    row.products += both.trace.products;
  }

  // ---- Adam's diagonal: D = (sqrt(v) + eps)^(-1/2) on both sides, v = g^2

  at::Tensor adam_scale(const HessianBlock& block) {
    return block_gradient(block).abs().add_(kAdamEps).rsqrt_();
  }

  void estimated_preconditioning(Work& work) {
    const auto diagonal = diagonal_share(work.a, {kDiagonalProducts, 0.0, probe_seed(c_) + 2});
    const ScaledOperator scaled(work.a, adam_scale(work.block));
    const auto steps = std::min(c_.lanczos_steps, work.block.size());
    const auto density =
        spectral_density(scaled, {std::max<std::int64_t>(1, steps), 1, probe_seed(c_),
                                  c_.lanczos_reorthogonalisation(), work.check.noise});
    work.summary.products += diagonal.products + steps;
    if (work.density.probes.empty()) return;
    record_condition(work, condition_number(work.density.probes.front(), kLeftOut),
                     condition_number(density.probes.front(), kLeftOut), diagonal.share,
                     diagonal.standard_error, kLeftOut);
  }

  void record_condition(const Work& work, double before, double after, double tau, double error,
                        double left_out) {
    HessianRows rows;
    rows.preconditioning.push_back(
        {step_, work.index, tau, error, before, after, after / before, left_out});
    sinks_.rows(rows);
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
    sinks_.rows(rows);
    if (c_.preconditioning) exact_preconditioning(work, matrix, spectrum);
  }

  void exact_preconditioning(const Work& work, const at::Tensor& matrix,
                             const Quadrature& spectrum) {
    const auto d = adam_scale(work.block).to(at::kCPU, at::kDouble);
    const auto scaled = d.unsqueeze(1) * matrix * d.unsqueeze(0);
    const auto values = symmetric_eigenvalues(scaled);
    const Quadrature after{values, spectrum.weights};
    const double tau =
        matrix.diagonal().square().sum().item<double>() / matrix.square().sum().item<double>();
    record_condition(work, condition_number(spectrum, 0.0), condition_number(after, 0.0), tau, 0.0,
                     0.0);
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
        rows.distances.push_back({step_, static_cast<std::int64_t>(i), static_cast<std::int64_t>(j),
                                  jensen_shannon(p, q)});
      }
    }
    sinks_.rows(rows);
  }

  // ||H_ij||^2 = E ||(H E_j z)_i||^2 over Rademacher z: a product gives a column of the map.
  bool couplings() {
    const ParameterSubset all(curvature_.store().layout());
    for (std::size_t j = 0; j < tables_.blocks.size(); ++j) {
      if (done_couplings_.count(static_cast<std::int64_t>(j)) > 0) continue;
      if (stopped()) return false;
      sinks_.rows(coupling_column(all, j));
    }
    return true;
  }

  HessianRows coupling_column(const ParameterSubset& all, std::size_t j) {
    const auto& from = tables_.blocks[j];
    const auto n = c_.coupling_products;
    auto squares = at::zeros({n, static_cast<std::int64_t>(tables_.blocks.size())}, at::kDouble);
    for (std::int64_t k = 0; k < n; ++k) {
      auto generator = make_generator(probe_seed(c_), RandomStream::probe,
                                      static_cast<std::uint64_t>(j), static_cast<std::uint64_t>(k));
      const auto z = at::randint(2, {from.size()}, generator, at::kDouble).mul_(2.0).sub_(1.0);
      auto y = at::empty({all.size()}, curvature_.gradient().options());
      curvature_.hessian_product(from.subset, from.embed(z.to(y.options())), all, y);
      if (sinks_.product) sinks_.product("couplings");
      const auto parts = all.views(y);
      for (std::size_t i = 0; i < tables_.blocks.size(); ++i) {
        squares[k][static_cast<std::int64_t>(i)] = squared_norm_in(parts, tables_.blocks[i]);
      }
    }
    HessianRows rows;
    const auto mean = squares.mean(0), error = squares.std(0, true) / std::sqrt(double(n));
    for (std::size_t i = 0; i < tables_.blocks.size(); ++i) {
      const auto place = static_cast<std::int64_t>(i);
      rows.couplings.push_back({step_, place, static_cast<std::int64_t>(j),
                                mean[place].item<double>(), error[place].item<double>()});
    }
    return rows;
  }

  static double squared_norm_in(const std::vector<at::Tensor>& parts, const HessianBlock& block) {
    std::vector<at::Tensor> chosen;
    for (const auto tensor : block.subset.blocks()) chosen.push_back(parts[tensor]);
    auto packed = at::empty({block.subset.size()}, chosen.front().options());
    block.subset.pack(chosen, packed);
    return block.extract(packed).to(at::kDouble).square().sum().item<double>();
  }

  // ---- partitions

  bool energies() {
    const auto& layout = curvature_.store().layout();
    for (std::size_t t = 0; t < layout.blocks().size() && !c_.partitions.empty(); ++t) {
      if (done_energies_.count(static_cast<std::int64_t>(t)) > 0) continue;
      if (!is_wanted(c_, layout.blocks()[t])) continue;
      if (stopped()) return false;
      sinks_.rows(tensor_energies(layout, t));
    }
    return true;
  }

  HessianRows tensor_energies(const ParameterLayout& layout, std::size_t t) {
    const CurvatureOperator whole(curvature_, c_.curvature_kind(), ParameterSubset(layout, {t}));
    const ObservedOperator a(whole, sinks_, "energies of " + layout.blocks()[t].name);
    HessianRows rows;
    at::Tensor matrix, first, second;
    double tau = 0.0;
    if (c_.exact) {
      matrix = to_dense(a);
      first = second = matrix.diagonal();
      tau = first.square().sum().item<double>() / matrix.square().sum().item<double>();
    } else {
      const auto diagonal = diagonal_share(a, {kDiagonalProducts, 0.0, probe_seed(c_) + 2});
      first = diagonal.first_half;
      second = diagonal.second_half;
      tau = std::clamp(diagonal.share, 0.0, 1.0);
    }
    for (std::size_t r = 0; r < tables_.rules.size(); ++r) {
      const auto partition = make_partition(layout, tables_.rules[r]);
      const auto& tensor = partition.tensors()[t];
      const auto labels = at::tensor(tensor.labels(), at::kLong);
      const auto count = tensor.block_count();
      EnergyRow row{step_, static_cast<std::int64_t>(t), static_cast<std::int64_t>(r), count};
      if (c_.exact) {
        row.share = inside_energy(matrix, labels) / matrix.square().sum().item<double>();
        row.share_error = 0.0;
      } else {
        const auto found =
            block_energies(a, labels, count, {c_.code_vectors, c_.codes, probe_seed(c_)});
        row.share = found.share;
        row.share_error = found.share_error;
      }
      row.random_share = random_share(labels, count, tau);
      row.lift = coupling_lift(row.share, row.random_share);
      row.homogeneity = inside_variance(first, second, labels, count);
      rows.energies.push_back(row);
    }
    return rows;
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

std::int64_t block_products(const HessianConfig& config, const HessianBlock& block) {
  std::int64_t products = config.guards ? kCheckProducts : 0;
  if (config.exact) return products + block.size();
  const auto steps = steps_of(config, block);
  const bool confirms = config.reorthogonalisation != "none" && steps > 0;
  products += config.probes * steps + (confirms ? std::min(2 * config.eigenpairs, steps) : 0);
  products += config.trace_products;
  if (config.preconditioning) products += kDiagonalProducts + steps;
  return products;
}

std::int64_t tensor_products(const HessianConfig& config, const ParameterBlock& block) {
  if (config.exact) return block.size();
  const auto rules = static_cast<std::int64_t>(config.partitions.size());
  return kDiagonalProducts + rules * config.code_vectors * config.codes;
}

void require_fit(const HessianConfig& config, const std::vector<HessianBlock>& blocks) {
  for (const auto& block : blocks) {
    require_input(!config.exact || block.size() <= kLargestDense,
                  "hessian.exact: block '{}' has {} parameters, a matrix is made up to {}",
                  block.name, block.size(), kLargestDense);
  }
}

}  // namespace

MeasurementPlan plan_measurement(const HessianConfig& config, const ParameterLayout& layout) {
  MeasurementPlan plan;
  plan.tables.blocks = select_blocks(layout, config.selection());
  plan.tables.rules = config.partitions;
  require_fit(config, plan.tables.blocks);
  if (config.guards && config.curvature_kind() == CurvatureKind::hessian) {
    plan.tables.symmetries = checked_symmetry_names(layout);
    plan.products += static_cast<std::int64_t>(plan.tables.symmetries.size());
  }
  const auto bytes = config.precision == "fp64" ? 8 : 4;
  const bool keeps = config.reorthogonalisation != "none";
  for (const auto& block : plan.tables.blocks) {
    plan.products += block_products(config, block) + config.coupling_products;
    const auto vectors = (keeps ? steps_of(config, block) : 2) + 3;
    plan.basis_bytes = std::max(plan.basis_bytes, vectors * block.size() * bytes);
  }
  plan.basis_bytes *=
      std::min(config.lockstep, static_cast<std::int64_t>(plan.tables.blocks.size()));
  for (const auto& block : layout.blocks()) {
    if (config.partitions.empty() || !is_wanted(config, block)) continue;
    plan.products += tensor_products(config, block);
  }
  plan.gradients = static_cast<double>(plan.products) *
                   product_cost(config.product_method(), config.curvature_kind());
  return plan;
}

bool measure_hessian(const HessianConfig& config, const HessianTables& tables, Curvature& curvature,
                     std::int64_t step, const HessianRows& done, const std::filesystem::path& state,
                     const MeasurementSinks& sinks) {
  return Measurement(config, tables, curvature, step, done, state, sinks).run();
}

}  // namespace blockwise
