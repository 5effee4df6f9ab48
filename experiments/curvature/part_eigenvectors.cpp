#include "experiments/curvature/part_eigenvectors.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace blockwise {
namespace {

void sort_by_magnitude(std::vector<RitzPair>& pairs) {
  std::ranges::stable_sort(pairs, std::ranges::greater(),
                           [](const RitzPair& pair) { return std::abs(pair.value); });
}

}  // namespace

bool wants_eigenvectors(const MeasurementScope& scope) {
  return scope.config.pairs.vectors > 0 && scope.sinks.eigenvectors;
}

void hand_on_eigenvectors(const MeasurementScope& scope, const PartMeasurement& work,
                          std::vector<RitzPair> pairs) {
  if (!wants_eigenvectors(scope)) return;
  sort_by_magnitude(pairs);
  if (std::ssize(pairs) > scope.config.pairs.vectors) {
    pairs.resize(static_cast<std::size_t>(scope.config.pairs.vectors));
  }
  scope.sinks.eigenvectors(static_cast<std::size_t>(work.index), pairs);
}

void hand_on_eigenvectors(const MeasurementScope& scope, const PartMeasurement& work,
                          const Eigensystem& spectrum) {
  if (!wants_eigenvectors(scope)) return;
  std::vector<RitzPair> pairs;
  for (std::size_t i = 0; i < spectrum.values.size(); ++i) {
    RitzPair pair;
    pair.value = spectrum.values[i];
    pair.residual = 0.0;
    pair.converged = true;
    pair.vector = spectrum.vectors.select(1, static_cast<std::int64_t>(i));
    pairs.push_back(std::move(pair));
  }
  hand_on_eigenvectors(scope, work, std::move(pairs));
}

}  // namespace blockwise
