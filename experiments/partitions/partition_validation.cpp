#include "experiments/partitions/partition_validation.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/base/random_stream.hpp"
#include "core/base/statistics.hpp"
#include "experiments/terminal/stop_signal.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/evidence/partition_fidelity.hpp"
#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

// The blocks of what is chosen; sections that are merged are one block.
EnergyLevel blocks_of(const SectionVectors& vectors, const std::vector<SectionScores>& sections) {
  auto level = vectors.chosen(sections);
  std::map<std::int64_t, std::int64_t> first;
  for (std::size_t i = 0; i < vectors.searched().size(); ++i) {
    const auto merged = sections[vectors.searched()[i]].merged;
    if (merged < 0) continue;
    const auto& range = vectors.in_matrices()[i];
    const auto own = level.labels[range.begin].item<std::int64_t>();
    const auto block = first.try_emplace(merged, own).first->second;
    level.labels.narrow(0, range.begin, range.size).fill_(block);
  }
  return level;
}

at::Tensor gradient_of_matrices(const DiscoveryPoint& point, Curvature& curvature) {
  const auto& layout = point.discovery.layout;
  std::vector<at::Tensor> parts;
  for (const auto t : searched_tensors(layout)) {
    const auto& block = layout.blocks()[t];
    parts.push_back(curvature.gradient().narrow(0, block.offset, block.size()));
  }
  return at::cat(parts);
}

PartitionValidation validate_on(const DiscoveryPoint& point, const EnergyLevel& blocks,
                                std::int64_t further,
                                const std::function<void(std::int64_t)>& observe) {
  const auto& c = point.discovery.config.discovery;
  // Codes of another seed than the search's.
  const auto seed = stream_seed(c.code_plan().seed, RandomStream::probe, 1);
  const auto curvature = point.curvature(further);
  const auto matrices = point.matrices(*curvature);
  const StoppableOperator a(matrices, stop_requested);
  const auto energies =
      block_energies(a, blocks.labels, blocks.block_count, {c.validation_vectors, c.codes, seed});
  observe(energies.products);
  const auto gradient = gradient_of_matrices(point, *curvature);
  const auto along =
      partition_fidelity(a, blocks.labels, blocks.block_count, gradient, {kGradientCodes, seed});
  observe(along.products);
  const double t = student_t_quantile(double(c.validation_vectors - 1));
  const double t_codes = student_t_quantile(double(kGradientCodes - 1));
  return {further == 0 ? "the same" : "other",
          energies.share,
          energies.share_error,
          t * energies.share_error,
          along.cosine,
          along.cosine_error,
          along.relative_error,
          along.relative_error_error,
          t_codes * along.cosine_error,
          t_codes * along.relative_error_error,
          c.validation_vectors};
}

}  // namespace

double PartitionValidation::cosine() const { return std::sqrt(std::clamp(share, 0.0, 1.0)); }

double PartitionValidation::relative_error() const {
  return std::sqrt(std::clamp(1.0 - share, 0.0, 1.0));
}

namespace {

constexpr std::int64_t kFewestForInterval = 3;
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

struct Possible {
  double low, high;
};

// "0.36 ± 0.12"; with both ends where the interval is cut at a bound.
std::string estimate_text(double value, double half_width, const Possible& possible) {
  const double low = std::max(possible.low, value - half_width);
  const double high = std::min(possible.high, value + half_width);
  const bool cut_low = low <= possible.low, cut_high = high >= possible.high;
  if (cut_low && cut_high) return fmt::format("{:.2f}, lost in noise", value);
  if (cut_low || cut_high) return fmt::format("{:.2f} [{:.2f}, {:.2f}]", value, low, high);
  return fmt::format("{:.2f} ± {:.2f}", value, half_width);
}

std::string share_text(const PartitionValidation& v) {
  if (v.vectors < kFewestForInterval) {
    return fmt::format("{:.3f} ({} vectors, too few for an interval)", v.share, v.vectors);
  }
  const double low = v.share - v.share_half_width, high = v.share + v.share_half_width;
  if (low >= 0.0 && high <= 1.0) return fmt::format("{:.3f} ± {:.3f}", v.share, v.share_half_width);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", v.share, std::max(0.0, low), std::min(1.0, high));
}

}  // namespace

std::string validation_text(const PartitionValidation& v) {
  return fmt::format(
      "fresh probes, {} batches: the blocks hold {} of the Hessian's energy; D_P v against H v: "
      "cosine {:.2f}, relative error {:.2f}; along the gradient cosine {}, relative error {}",
      v.batches, share_text(v), v.cosine(), v.relative_error(),
      estimate_text(v.gradient_cosine, v.gradient_cosine_half_width, {-1.0, 1.0}),
      estimate_text(v.gradient_relative_error, v.gradient_relative_error_half_width,
                    {0.0, kUnbounded}));
}

std::vector<PartitionValidation> validate_partition(
    const DiscoveryPoint& point, const SectionVectors& vectors,
    const std::vector<SectionScores>& sections,
    const std::function<void(const std::string&)>& observe) {
  if (point.discovery.config.discovery.validation_vectors == 0) return {};
  const auto blocks = blocks_of(vectors, sections);
  std::vector<PartitionValidation> found;
  for (const std::int64_t further : {0, 1}) {
    if (stop_requested()) return {};
    found.push_back(validate_on(point, blocks, further, [&](std::int64_t products) {
      for (std::int64_t i = 0; i < products; ++i) observe("validation");
    }));
  }
  return found;
}

}  // namespace blockwise
