#include "experiments/partitions/partition_validation.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "core/base/random_stream.hpp"
#include "core/base/statistics.hpp"
#include "experiments/partitions/section_candidates.hpp"
#include "hessian/block_energies.hpp"
#include "hessian/evidence/partition_fidelity.hpp"

namespace blockwise {
namespace {

// Sign codes for the blocks' product with the gradient, which no average over vectors helps.
constexpr std::int64_t kGradientCodes = 32;

constexpr std::array<std::int64_t, 2> kSamples = {0, 1};  // the search's batches, those behind them

bool is_validated(const DiscoveryConfig& config) {
  return config.needs_products() && config.validation_vectors > 0;
}

// Of another seed than the search's.
CodePlan fresh_codes(const DiscoveryConfig& config) {
  const auto search = config.code_plan();
  return {config.validation_vectors, config.codes,
          stream_seed(search.seed, RandomStream::probe, 1)};
}

std::int64_t examples_of_gradient(const ResolvedDiscovery& discovery) {
  return discovery.config.hessian.batches * discovery.config.hessian.batch_size;
}

// The blocks of what is chosen; sections that are merged are one block.
EnergyLevel blocks_of(const SectionVectors& vectors, const std::vector<SectionScores>& sections) {
  auto level = vectors.chosen(sections);
  std::map<std::int64_t, std::int64_t> first;
  for (std::size_t place = 0; place < vectors.searched().size(); ++place) {
    const auto merged = sections[vectors.searched()[place]].merged;
    if (merged < 0) continue;
    const auto& range = vectors.in_matrices()[place];
    const auto own = level.labels[range.begin].item<std::int64_t>();
    const auto block = first.try_emplace(merged, own).first->second;
    level.labels.narrow(0, range.begin, range.size).fill_(block);
  }
  return level;
}

at::Tensor gradient_of_matrices(const DiscoveryPoint& point, Curvature& curvature) {
  const auto& layout = point.discovery.layout;
  std::vector<at::Tensor> parts;
  for (const auto tensor : searched_tensors(layout)) {
    const auto& parameter = layout.parameters()[tensor];
    parts.push_back(curvature.gradient().narrow(0, parameter.offset, parameter.size()));
  }
  return at::cat(parts);
}

// `further`: 0 for the search's batches, 1 for those behind them.
PartitionValidation validate_on(const DiscoveryPoint& point, const EnergyLevel& blocks,
                                std::int64_t further, WorkMeter& meter) {
  const auto& config = point.discovery.config.discovery;
  const auto plan = fresh_codes(config);
  const auto curvature = point.curvature(further);
  const auto matrices = point.matrices(*curvature);
  const MeteredOperator metered(matrices, meter);
  const auto energies = block_energies(metered, blocks.labels, blocks.block_count, plan);
  meter.advance("validation", energies.products);
  const auto gradient = gradient_of_matrices(point, *curvature);
  meter.count({0, 0, 0, examples_of_gradient(point.discovery), 0});
  const auto along = partition_fidelity(metered, blocks.labels, blocks.block_count, gradient,
                                        {kGradientCodes, plan.seed});
  meter.advance("validation", along.products);
  const double t = student_t_quantile(double(plan.vectors - 1));
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
          plan.vectors};
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
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", std::clamp(v.share, 0.0, 1.0), std::max(0.0, low),
                     std::min(1.0, high));
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

WorkCount validation_work(const ResolvedDiscovery& discovery) {
  const auto& config = discovery.config.discovery;
  WorkCount work;
  if (!is_validated(config)) return work;
  const auto plan = fresh_codes(config);
  for ([[maybe_unused]] const auto further : kSamples) {
    const auto products = plan.vectors * plan.codes + kGradientCodes + 1;
    work += {products, products, 1, examples_of_gradient(discovery), products};
  }
  return work;
}

std::vector<PartitionValidation> validate_partition(const DiscoveryPoint& point,
                                                    const std::vector<SectionScores>& sections,
                                                    WorkMeter& meter) {
  std::vector<PartitionValidation> found;
  if (!is_validated(point.discovery.config.discovery)) return found;
  const auto blocks = blocks_of(point.vectors, sections);
  for (const auto further : kSamples) {
    meter.require_going();
    found.push_back(validate_on(point, blocks, further, meter));
  }
  return found;
}

}  // namespace blockwise
