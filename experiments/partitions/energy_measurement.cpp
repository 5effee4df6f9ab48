#include "experiments/partitions/energy_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/io/hdf5_state.hpp"
#include "core/io/input_file.hpp"
#include "experiments/partitions/section_candidates.hpp"
#include "hessian/dense.hpp"
#include "hessian/evidence/moment_evidence.hpp"
#include "hessian/evidence/off_diagonal_share.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGroup = "/probes";
constexpr std::size_t kEnoughEstimates = 3;  // for what independent noise leaves

// Where every tensor is measured by itself, a product has one pass for each.
bool by_tensor(const DiscoveryConfig& config) { return config.scope == "tensor"; }

std::int64_t passes_of_product(const ResolvedDiscovery& discovery) {
  return by_tensor(discovery.config.discovery) ? std::ssize(searched_tensors(discovery.layout)) : 1;
}

// ---- what blocks hold ---------------------------------------------------------------------------

// Of a section's energy off the diagonal the share inside a candidate's blocks, and its error; of
// all its energy that of the diagonal.
struct InsideShare {
  double value = 0.0, error = 0.0;
  double diagonal = 0.0;
};

// Beside random blocks of the same sizes, in which the diagonal lies, too.
void take_lift(const SectionVectors& vectors, std::size_t section, const InsideShare& share,
               CandidateScore& candidate) {
  const auto& part = candidate.section;
  const double pairs = random_share(vectors.labels(section, part), part.block_count(), 0.0);
  const double on_diagonal = std::clamp(share.diagonal, 0.0, 1.0);
  candidate.chance = on_diagonal + (1.0 - on_diagonal) * pairs;
  if (candidate.name == "whole" || pairs >= 1.0) return;
  candidate.lift = coupling_lift(share.value, pairs);
  candidate.lift_error = share.error / (1.0 - pairs);
}

// The variance of log |diagonal| inside groups, from independent estimates of the diagonal.
void take_diagonal(const SectionVectors& vectors, std::size_t number,
                   const std::vector<at::Tensor>& estimates, SectionScores& section) {
  if (estimates.size() < kEnoughEstimates) return;
  std::vector<at::Tensor> sizes;
  for (const auto& diagonal : estimates) sizes.push_back(vectors.matrix(number, diagonal.abs()));
  for (auto& candidate : section.candidates) {
    const auto found = inside_log_variance(sizes, candidate.section);
    candidate.diagonal_inside = found.share;
    candidate.diagonal_inside_error = found.standard_error;
  }
}

// ---- from probes --------------------------------------------------------------------------------

// Whether the section's own energy stands out. Where products mix sections, what the others bring
// may be more than it has.
bool take_samples(const DiscoveryPoint& point, std::size_t section, const EnergySamples& samples,
                  CandidateScore& candidate) {
  const auto found = off_diagonal_share(samples);
  const bool mixed = !by_tensor(point.discovery.config.discovery);
  if (std::isinf(found.standard_error)) return false;
  if (mixed && found.standard_error > kLargestMixedError) return false;
  const double energy = samples.whole.mean().item<double>();
  candidate.share = samples.inside.mean().item<double>() / energy;
  const auto deviations =
      ((samples.inside - candidate.share * samples.whole) / energy).contiguous();
  const auto* first = deviations.data_ptr<double>();
  candidate.deviations.assign(first, first + deviations.numel());
  take_lift(point.vectors, section, {found.value, found.standard_error, samples.diagonal / energy},
            candidate);
  return true;
}

// Of the searched section at `place` among all that are, from the energies at these levels.
void take_energies(const DiscoveryPoint& point, std::int64_t place,
                   const std::vector<std::string>& names, const PartitionEnergies& energies,
                   SectionScores& section) {
  const auto& vectors = point.vectors;
  const auto number = vectors.searched()[static_cast<std::size_t>(place)];
  const auto whole = std::ranges::find(names, "whole") - names.begin();
  const auto& all = energies.inside[static_cast<std::size_t>(whole)];
  for (std::size_t level = 0; level < names.size(); ++level) {
    const auto found = std::ranges::find(section.candidates, names[level], &CandidateScore::name);
    if (found == section.candidates.end()) continue;
    const EnergySamples samples{energies.inside[level].select(1, place), all.select(1, place),
                                energies.diagonal[place].item<double>(),
                                energies.diagonal_error[place].item<double>()};
    if (!take_samples(point, number, samples, *found)) section.resolved = false;
  }
  const auto& range = vectors.in_matrices()[static_cast<std::size_t>(place)];
  std::vector<at::Tensor> estimates;
  for (const auto& diagonal : energies.diagonals) {
    estimates.push_back(diagonal.narrow(0, range.begin, range.size));
  }
  take_diagonal(vectors, number, estimates, section);
}

std::unique_ptr<LinearOperator> searched_operator(const ResolvedDiscovery& discovery,
                                                  Curvature& curvature) {
  const auto kind = discovery.config.hessian.curvature_kind();
  const auto matrices = searched_tensors(discovery.layout);
  if (!by_tensor(discovery.config.discovery)) {
    return std::make_unique<CurvatureOperator>(curvature, kind,
                                               ParameterSubset(discovery.layout, matrices));
  }
  std::vector<ParameterSubset> each;
  for (const auto tensor : matrices) each.emplace_back(discovery.layout, std::vector{tensor});
  return std::make_unique<BlockDiagonalOperator>(curvature, kind, each);
}

void load_probes(const fs::path& state, const std::string& expected, PartitionProbes& probes) {
  const auto file = Hdf5File::open_for_reading(state);
  const auto hash = file.text_attribute(kGroup, "hash");
  require_input(
      hash == expected,
      "{}: a search with another configuration, on other data or of another model (hash {}, "
      "this one is {}). Give this one another --output, or delete the file.",
      state.string(), hash, expected);
  load_state(state, [&](const Hdf5File& same) { probes.load(Hdf5StateReader(same, kGroup)); });
}

void save_probes(const fs::path& state, const std::string& hash, const PartitionProbes& probes) {
  save_state(state, [&](Hdf5File& file) {
    probes.save(Hdf5StateWriter(file, kGroup));
    file.set_attribute(kGroup, "hash", hash);
  });
}

void measure_probes(const DiscoveryPoint& point, const fs::path& state, WorkMeter& meter,
                    std::vector<SectionScores>& sections) {
  const auto& discovery = point.discovery;
  const auto curvature = point.curvature();
  const auto searched = searched_operator(discovery, *curvature);
  const MeteredOperator metered(*searched, meter, passes_of_product(discovery));
  const auto names = level_names(sections);
  std::vector<EnergyLevel> levels;
  for (const auto& name : names) levels.push_back(point.vectors.level(sections, name));
  PartitionProbes probes(metered, point.vectors.in_matrices(), std::move(levels),
                         discovery.config.discovery.code_plan());
  if (input_exists(state.string())) load_probes(state, discovery.measured, probes);
  const auto keep = [&] { save_probes(state, discovery.measured, probes); };
  const bool finished = probes.run([&] { meter.advance("energies"); },
                                   [&] {
                                     keep();
                                     return !meter.stopped();
                                   });
  if (!finished) throw Stopped();
  keep();
  const auto energies = probes.result();
  for (std::int64_t place = 0; place < std::ssize(point.vectors.searched()); ++place) {
    const auto number = point.vectors.searched()[static_cast<std::size_t>(place)];
    take_energies(point, place, names, energies, sections[number]);
  }
}

// ---- from matrices ------------------------------------------------------------------------------

// Of a section of the tensor whose diagonal block is `matrix`.
void take_matrix(const SectionVectors& vectors, std::size_t number, const at::Tensor& matrix,
                 SectionScores& section) {
  const auto range = vectors.in_tensor(number);
  const auto own = matrix.narrow(0, range.begin, range.size).narrow(1, range.begin, range.size);
  const double energy = own.square().sum().item<double>();
  const double diagonal = own.diagonal().square().sum().item<double>();
  for (auto& candidate : section.candidates) {
    if (!has_blocks(candidate.section) || energy == 0.0) continue;
    const double inside = inside_energy(own, vectors.labels(number, candidate.section));
    candidate.share = inside / energy;
    if (diagonal >= energy) continue;
    const double off_diagonal = (inside - diagonal) / (energy - diagonal);
    take_lift(vectors, number, {off_diagonal, 0.0, diagonal / energy}, candidate);
  }
  const auto exact = own.diagonal().contiguous();
  take_diagonal(vectors, number, std::vector<at::Tensor>(kEnoughEstimates, exact), section);
}

// Every searched tensor's diagonal block.
void measure_matrices(const DiscoveryPoint& point, WorkMeter& meter,
                      std::vector<SectionScores>& sections) {
  const auto& discovery = point.discovery;
  const auto curvature = point.curvature();
  for (const auto tensor : searched_tensors(discovery.layout)) {
    const CurvatureOperator block(*curvature, discovery.config.hessian.curvature_kind(),
                                  ParameterSubset(discovery.layout, {tensor}));
    const auto matrix = to_dense(MeteredOperator(block, meter));
    for (const auto number : point.vectors.searched()) {
      if (sections[number].tensor != tensor) continue;
      take_matrix(point.vectors, number, matrix, sections[number]);
    }
    meter.advance(discovery.layout.parameters()[tensor].name);
  }
}

}  // namespace

WorkCount energies_work(const ResolvedDiscovery& discovery) {
  const auto& config = discovery.config.discovery;
  WorkCount work;
  if (!config.needs_products()) return work;
  if (discovery.config.hessian.exact) {
    for (const auto tensor : searched_tensors(discovery.layout)) {
      const auto columns = discovery.layout.parameters()[tensor].size();
      work += {columns, columns, 1, 0, 1};
    }
    return work;
  }
  const auto levels = std::ssize(level_names(all_sections(config, discovery.layout)));
  const auto passes = passes_of_product(discovery);
  work.products =
      checked_product("levels x discovery.vectors x codes", {levels, config.vectors, config.codes});
  work.passes = checked_product("tensors x products", {passes, work.products});
  work.calibrations = passes;
  work.units = work.products;
  return work;
}

void measure_energies(const DiscoveryPoint& point, const fs::path& state, WorkMeter& meter,
                      std::vector<SectionScores>& sections) {
  if (!point.discovery.config.discovery.needs_products()) return;
  if (point.discovery.config.hessian.exact) {
    measure_matrices(point, meter, sections);
  } else {
    measure_probes(point, state, meter, sections);
  }
}

}  // namespace blockwise
