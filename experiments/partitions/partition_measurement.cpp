#include "experiments/partitions/partition_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/hdf5_state.hpp"
#include "core/io/input_file.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "hessian/dense.hpp"
#include "hessian/evidence/best_rate.hpp"
#include "hessian/evidence/moment_evidence.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

constexpr const char* kGroup = "/probes";
constexpr std::size_t kEnoughEstimates = 3;  // for what independent noise leaves

std::unique_ptr<LinearOperator> searched_operator(const ResolvedDiscovery& d,
                                                  Curvature& curvature) {
  const auto kind = d.config.hessian.curvature_kind();
  const auto matrices = searched_tensors(d.layout);
  if (d.config.discovery.scope == "model") {
    return std::make_unique<CurvatureOperator>(curvature, kind,
                                               ParameterSubset(d.layout, matrices));
  }
  std::vector<ParameterSubset> each;
  for (const auto tensor : matrices) each.emplace_back(d.layout, std::vector{tensor});
  return std::make_unique<BlockDiagonalOperator>(curvature, kind, each);
}

}  // namespace

PartitionMeasurement::PartitionMeasurement(const DiscoveryPoint& point,
                                           const SectionVectors& vectors,
                                           std::vector<SectionScores>& sections, std::string state,
                                           const std::function<void(const std::string&)>& observe)
    : point_(point),
      d_(point.discovery),
      c_(point.discovery.config.discovery),
      vectors_(vectors),
      sections_(sections),
      state_(std::move(state)),
      observe_(observe) {}

bool PartitionMeasurement::energies() {
  return d_.config.hessian.exact ? exact_energies() : probed_energies();
}

// ---- estimated ----------------------------------------------------------------------------------

bool PartitionMeasurement::probed_energies() {
  const auto curvature = point_.curvature();
  const auto searched = searched_operator(d_, *curvature);
  const StoppableOperator a(*searched, stop_requested);
  const auto names = level_names(sections_);
  std::vector<EnergyLevel> levels;
  for (const auto& name : names) levels.push_back(vectors_.level(sections_, name));
  PartitionProbes probes(a, vectors_.in_matrices(), std::move(levels), c_.code_plan());
  if (input_exists(state_)) load(probes);
  const bool finished = probes.run([&] { observe_("energies"); },
                                   [&] {
                                     save(probes);
                                     return !stop_requested();
                                   });
  if (!finished) return false;
  save(probes);
  take_energies(names, probes.result());
  return !stop_requested();
}

void PartitionMeasurement::load(PartitionProbes& probes) const {
  const auto file = Hdf5File::open_for_reading(state_);
  const auto hash = file.text_attribute(kGroup, "hash");
  require_input(hash == d_.hash,
                "{}: a search with another configuration (hash {}, this one is {}). Give this "
                "one another --output, or delete the file.",
                state_, hash, d_.hash);
  load_state(state_, [&](const Hdf5File& same) { probes.load(Hdf5StateReader(same, kGroup)); });
}

void PartitionMeasurement::save(const PartitionProbes& probes) const {
  save_state(state_, [&](Hdf5File& file) {
    probes.save(Hdf5StateWriter(file, kGroup));
    file.set_attribute(kGroup, "hash", d_.hash);
  });
}

void PartitionMeasurement::take_energies(const std::vector<std::string>& names,
                                         const PartitionEnergies& energies) {
  const auto whole = std::ranges::find(names, "whole") - names.begin();
  const auto& all = energies.inside[static_cast<std::size_t>(whole)];
  for (std::int64_t place = 0; place < std::ssize(vectors_.searched()); ++place) {
    const auto s = vectors_.searched()[static_cast<std::size_t>(place)];
    auto& candidates = sections_[s].candidates;
    for (std::size_t l = 0; l < names.size(); ++l) {
      const auto found = std::ranges::find(candidates, names[l], &CandidateScore::name);
      if (found == candidates.end()) continue;
      take_samples(
          s, *found,
          {energies.inside[l].select(1, place), all.select(1, place),
           energies.diagonal[place].item<double>(), energies.diagonal_error[place].item<double>()});
    }
    const auto& range = vectors_.in_matrices()[static_cast<std::size_t>(place)];
    Diagonals estimates;
    for (const auto& d : energies.diagonals) {
      estimates.push_back(d.narrow(0, range.begin, range.size));
    }
    take_diagonal(s, estimates);
  }
}

// Where products mix sections, what the others bring may be more than a section has.
void PartitionMeasurement::take_samples(std::size_t section, CandidateScore& candidate,
                                        const EnergySamples& samples) {
  const auto found = off_diagonal_share(samples);
  const bool mixed = c_.scope == "model";
  if (std::isinf(found.standard_error) || (mixed && found.standard_error > kLargestMixedError)) {
    sections_[section].resolved = false;
    return;
  }
  const double energy = samples.whole.mean().item<double>();
  candidate.share = samples.inside.mean().item<double>() / energy;
  const auto deviations =
      ((samples.inside - candidate.share * samples.whole) / energy).contiguous();
  const auto* first = deviations.data_ptr<double>();
  candidate.deviations.assign(first, first + deviations.numel());
  take_lift(section, candidate, found.value, found.standard_error, samples.diagonal / energy);
}

void PartitionMeasurement::take_lift(std::size_t section, CandidateScore& candidate, double share,
                                     double error, double diagonal_share) const {
  const auto& part = candidate.section;
  const double pairs = random_share(vectors_.labels(section, part), part.block_count(), 0.0);
  const double on_diagonal = std::clamp(diagonal_share, 0.0, 1.0);
  candidate.chance = on_diagonal + (1.0 - on_diagonal) * pairs;
  if (candidate.name == "whole" || pairs >= 1.0) return;
  candidate.lift = coupling_lift(share, pairs);
  candidate.lift_error = error / (1.0 - pairs);
}

// The variance of log |diagonal| inside groups.
void PartitionMeasurement::take_diagonal(std::size_t section, const Diagonals& estimates) {
  if (estimates.size() < kEnoughEstimates) return;
  std::vector<at::Tensor> sizes;
  for (const auto& d : estimates) {
    sizes.push_back(vectors_.matrix(section, d.abs()));
  }
  for (auto& candidate : sections_[section].candidates) {
    const auto found = inside_log_variance(sizes, candidate.section);
    candidate.diagonal_inside = found.share;
    candidate.diagonal_inside_error = found.standard_error;
  }
}

// ---- exact --------------------------------------------------------------------------------------

// Every searched tensor's diagonal block as a matrix.
bool PartitionMeasurement::exact_energies() {
  const auto curvature = point_.curvature();
  for (const auto tensor : searched_tensors(d_.layout)) {
    if (stop_requested()) return false;
    const CurvatureOperator block(*curvature, d_.config.hessian.curvature_kind(),
                                  ParameterSubset(d_.layout, {tensor}));
    const StoppableOperator a(block, stop_requested);
    take_matrix(tensor, to_dense(a));
    observe_(d_.layout.blocks()[tensor].name);
  }
  return true;
}

void PartitionMeasurement::take_matrix(std::size_t tensor, const at::Tensor& matrix) {
  for (const auto s : vectors_.searched()) {
    if (sections_[s].tensor != tensor) continue;
    const auto range = vectors_.in_tensor(s);
    const auto own = matrix.narrow(0, range.begin, range.size).narrow(1, range.begin, range.size);
    const double energy = own.square().sum().item<double>();
    const double diagonal = own.diagonal().square().sum().item<double>();
    for (auto& candidate : sections_[s].candidates) {
      if (!has_blocks(candidate.section) || energy == 0.0) continue;
      const double inside = inside_energy(own, vectors_.labels(s, candidate.section));
      candidate.share = inside / energy;
      if (diagonal < energy)
        take_lift(s, candidate, (inside - diagonal) / (energy - diagonal), 0.0, diagonal / energy);
    }
    take_diagonal(s, Diagonals(kEnoughEstimates, own.diagonal().contiguous()));
  }
}

// ---- gradients ----------------------------------------------------------------------------------

bool PartitionMeasurement::moments() {
  const auto moments =
      second_moments({*point_.model, *point_.store, *d_.data},
                     hessian_moment_batches(d_.config.hessian, c_.gradient_batches),
                     {stop_requested, [&] { observe_("second moments"); }});
  for (const auto s : vectors_.searched()) {
    const auto& range = vectors_.in_all(s);
    std::vector<at::Tensor> v;
    at::Tensor sum;
    for (const auto& moment : moments.groups) {
      v.push_back(vectors_.matrix(s, moment.narrow(0, range.begin, range.size)));
      sum = sum.defined() ? sum + v.back() : v.back();
    }
    for (auto& candidate : sections_[s].candidates) {
      const auto found = inside_log_variance(v, candidate.section);
      candidate.inside = found.share;
      candidate.inside_error = found.standard_error;
      candidate.spread = std::sqrt(found.variance);
      candidate.signal_to_noise = signal_to_noise(sum, candidate.section);
    }
  }
  return true;
}

// ---- blocks -------------------------------------------------------------------------------------

bool PartitionMeasurement::conditions() {
  if (c_.condition_blocks == 0) return true;
  std::map<ParameterRole, std::vector<std::size_t>> by_role;
  for (const auto s : vectors_.searched()) {
    by_role[sections_[s].candidates.front().section.role].push_back(s);
  }
  const auto curvature = point_.curvature();
  const auto stream = stream_seed(static_cast<std::uint64_t>(c_.seed), RandomStream::sampling);
  for (const auto& [role, of_role] : by_role) {
    const auto s = of_role[uniform_index(stream, std::uint64_t(role), of_role.size())];
    auto& section = sections_[s];
    const std::set<std::size_t> looked_at = {section.chosen,
                                             adam_mini_candidate(section).value_or(section.chosen)};
    for (const auto i : looked_at) {
      if (stop_requested()) return false;
      auto& candidate = section.candidates[i];
      candidate.condition = condition(*curvature, s, candidate);
    }
    // As many units as were planned, whichever structures there turned out to be.
    for (std::int64_t i = 0; i < 2 * c_.condition_blocks; ++i) observe_("condition numbers");
  }
  return true;
}

// Geometric mean over the sample, of blocks of at least two elements; not known where the smallest
// eigenvalue of one of them has not converged far enough to say it within a half.
double PartitionMeasurement::condition(Curvature& curvature, std::size_t section,
                                       const CandidateScore& candidate) {
  const auto& part = candidate.section;
  if (part.block_count() == part.size()) return 1.0;
  const CurvatureOperator tensor(curvature, d_.config.hessian.curvature_kind(),
                                 ParameterSubset(d_.layout, {sections_[section].tensor}));
  const auto labels = vectors_.labels(section, part);
  const auto begin = vectors_.in_tensor(section).begin;
  const auto stream = stream_seed(static_cast<std::uint64_t>(c_.seed), RandomStream::sampling,
                                  section + 1, std::uint64_t(part.block_count()));
  const auto count = std::min(c_.condition_blocks, part.block_count());
  constexpr double kKnown = 0.5;
  double logs = 0.0, worst = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto block = uniform_index(stream, std::uint64_t(i), std::uint64_t(part.block_count()));
    const auto index = labels.eq(std::int64_t(block)).nonzero().reshape({-1}) + begin;
    const RestrictedOperator restricted(tensor, index.to(point_.device));
    const StoppableOperator a(restricted, stop_requested);
    const auto ends = curvature_ends(a, {0.05, kConditionProducts, std::uint64_t(c_.seed)});
    logs += std::log(ends.condition(d_.config.hessian.damping)) / double(count);
    worst = std::max(worst, ends.condition_error(d_.config.hessian.damping));
  }
  return worst <= kKnown ? std::exp(logs) : kNotMeasured;
}

}  // namespace blockwise
