#include "experiments/partitions/condition_measurement.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/random_stream.hpp"
#include "experiments/partitions/section_candidates.hpp"
#include "hessian/evidence/best_rate.hpp"

namespace blockwise {
namespace {

// Products that the condition number of one block takes, at most.
constexpr std::int64_t kConditionProducts = 30;
constexpr double kTolerance = 0.05;      // of the two ends' sum
constexpr double kKnownWithin = 0.5;     // of a condition number: otherwise it is not known
constexpr std::int64_t kStructures = 2;  // of a section: the chosen one and adam_mini's

std::int64_t blocks_per_role(const DiscoveryConfig& config) {
  return kStructures * config.condition_blocks;
}

bool is_measured(const DiscoveryConfig& config) {
  return config.needs_products() && config.condition_blocks > 0;
}

// Numbers of the blocks that stand for a candidate of the section, with repetitions.
std::vector<std::int64_t> sample_of_blocks(const DiscoveryConfig& config, std::size_t section,
                                           const PartitionSection& part) {
  const auto blocks = static_cast<std::uint64_t>(part.block_count());
  // A stream per section and structure; that of section 0 is what sections are picked from.
  const auto stream = stream_seed(static_cast<std::uint64_t>(config.seed), RandomStream::sampling,
                                  section + 1, blocks);
  std::vector<std::int64_t> sample;
  for (std::int64_t i = 0; i < std::min(config.condition_blocks, part.block_count()); ++i) {
    const auto block = uniform_index(stream, static_cast<std::uint64_t>(i), blocks);
    sample.push_back(static_cast<std::int64_t>(block));
  }
  return sample;
}

// Geometric mean over the sample; not known where the smallest eigenvalue of one of the blocks has
// not converged far enough. `tensor`: the operator of the section's tensor.
double condition_of(const DiscoveryPoint& point, const LinearOperator& tensor, std::size_t section,
                    const PartitionSection& part) {
  if (part.block_count() == part.size()) return 1.0;  // every block is one element
  const auto& config = point.discovery.config.discovery;
  const double damping = point.discovery.config.hessian.spectral.damping;
  const CurvatureEndsOptions options{kTolerance, kConditionProducts,
                                     static_cast<std::uint64_t>(config.seed)};
  const auto labels = point.vectors.labels(section, part);
  const auto begin = point.vectors.in_tensor(section).begin;
  const auto sample = sample_of_blocks(config, section, part);
  double logs = 0.0, worst = 0.0;
  for (const auto block : sample) {
    const auto index = labels.eq(block).nonzero().reshape({-1}) + begin;
    const auto ends = curvature_ends(RestrictedOperator(tensor, index.to(point.device)), options);
    logs += std::log(ends.condition(damping)) / double(sample.size());
    worst = std::max(worst, ends.condition_error(damping));
  }
  return worst <= kKnownWithin ? std::exp(logs) : kNotMeasured;
}

void measure_section(const DiscoveryPoint& point, Curvature& curvature, std::size_t number,
                     WorkMeter& meter, SectionScores& section) {
  const CurvatureOperator tensor(curvature, point.discovery.config.hessian.curvature_kind(),
                                 ParameterSubset(point.discovery.layout, {section.tensor}));
  const MeteredOperator metered(tensor, meter);
  const std::set<std::size_t> structures = {section.chosen,
                                            adam_mini_candidate(section).value_or(section.chosen)};
  for (const auto i : structures) {
    auto& candidate = section.candidates[i];
    candidate.condition = condition_of(point, metered, number, candidate.section);
  }
}

}  // namespace

WorkCount conditions_work(const ResolvedDiscovery& discovery) {
  const auto& config = discovery.config.discovery;
  WorkCount work;
  if (!is_measured(config)) return work;
  const auto blocks = blocks_per_role(config);
  const auto roles = std::ssize(sections_by_role(all_sections(config, discovery.layout)));
  work.products = roles * blocks * kConditionProducts;
  work.passes = work.products;
  work.calibrations = roles;
  work.units = roles * blocks;
  return work;
}

void measure_conditions(const DiscoveryPoint& point, WorkMeter& meter,
                        std::vector<SectionScores>& sections) {
  const auto& config = point.discovery.config.discovery;
  if (!is_measured(config)) return;
  const auto curvature = point.curvature();
  const auto stream = stream_seed(static_cast<std::uint64_t>(config.seed), RandomStream::sampling);
  for (const auto& [role, of_role] : sections_by_role(sections)) {
    const auto pick = uniform_index(stream, static_cast<std::uint64_t>(role), of_role.size());
    const auto number = of_role[pick];
    measure_section(point, *curvature, number, meter, sections[number]);
    // As many units as were planned, whichever structures there turned out to be.
    meter.advance("condition numbers", blocks_per_role(config));
  }
}

}  // namespace blockwise
