#include "experiments/partitions/moment_measurement.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "experiments/curvature/led_work.hpp"
#include "experiments/curvature/moment_batches.hpp"
#include "hessian/evidence/moment_evidence.hpp"

namespace blockwise {
namespace {

MomentBatches batches_of(const ResolvedDiscovery& discovery) {
  const auto& config = discovery.config;
  return hessian_moment_batches(config.hessian, config.discovery.gradient_batches,
                                config.discovery.sample);
}

// From several independent estimates of the second moment, of all parameters.
void take_moments(const SectionVectors& vectors, std::size_t number,
                  const std::vector<at::Tensor>& moments, SectionScores& section) {
  const auto& range = vectors.in_all(number);
  std::vector<at::Tensor> estimates;
  at::Tensor sum;
  for (const auto& moment : moments) {
    estimates.push_back(vectors.matrix(number, moment.narrow(0, range.begin, range.size)));
    sum = sum.defined() ? sum + estimates.back() : estimates.back();
  }
  for (auto& candidate : section.candidates) {
    const auto found = inside_log_variance(estimates, candidate.section);
    candidate.inside = found.share;
    candidate.inside_error = found.standard_error;
    candidate.spread = std::sqrt(found.variance);
    candidate.signal_to_noise = signal_to_noise(sum, candidate.section);
  }
}

}  // namespace

WorkCount moments_work(const ResolvedDiscovery& discovery) {
  const auto batches = batches_of(discovery);
  WorkCount work;
  work.units = batches.of_group() * kMomentGroups;
  work.examples = work.units * batches.size();
  return work;
}

SecondMoments moments_at(const DiscoveryPoint& point, const WorkWatch& watch) {
  const auto& discovery = point.discovery;
  return second_moments({*point.model, *point.store, *discovery.data}, batches_of(discovery), watch,
                        point.ranks);
}

void measure_moments(const DiscoveryPoint& point, WorkMeter& meter,
                     std::vector<SectionScores>& sections) {
  const auto& discovery = point.discovery;
  const auto batches = batches_of(discovery);
  const auto done = [&] {
    meter.count({0, 0, 0, batches.size(), 0});
    meter.advance("second moments");
  };
  lead_moments(point.ranks);
  const auto moments = moments_at(point, {meter.stop(), done});
  for (const auto number : point.vectors.searched()) {
    take_moments(point.vectors, number, moments.groups, sections[number]);
  }
}

}  // namespace blockwise
