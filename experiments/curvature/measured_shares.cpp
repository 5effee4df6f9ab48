#include "experiments/curvature/measured_shares.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/parallel/bucket_exchange.hpp"
#include "core/parallel/gradient_sum.hpp"

namespace blockwise {

bool measures_shares(const RunConfig& config, std::int64_t ranks) {
  return ranks > 1 && config.parallel.shares_weights() &&
         is_difference(config.hessian.product_method()) &&
         config.hessian.curvature_kind() == CurvatureKind::hessian &&
         config.model.spec->separate_layers() > 0;
}

Owners measured_owners(const RunConfig& config, const ParameterLayout& layout, std::int64_t ranks) {
  return even_owners(layout, config.model.spec->separate_layers(), ranks);
}

ProductMemory shared_product_memory(const ProductMemory& whole, const RunConfig& config,
                                    const ParameterLayout& layout, std::int64_t ranks) {
  const auto width = static_cast<std::int64_t>(c10::elementSize(config.hessian.dtype()));
  const auto vector = width * layout.size(), share = ceil_divide(vector, ranks);
  constexpr std::int64_t kShares = 5;  // SharedDifferences
  const bool in_files = config.hessian.files_from(layout.size()) != ProductKind::kNoFiles;
  const ParameterStore store(layout, at::kMeta, config.hessian.dtype(), std::nullopt,
                             Gradients::released,
                             OwnMasters{measured_owners(config, layout, ranks).own(0),
                                        config.model.spec->separate_layers()});
  // Buckets end where a unit does.
  std::int64_t bucket = 0;
  for (const auto& buffer : store.weight_buffers()) bucket = std::max(bucket, buffer.bytes());
  bucket = std::min(bucket, GradientSum::Options().bucket_bytes);
  const auto buckets = 2 * std::min(vector, BucketExchange::kMostReceived * bucket);
  ProductMemory memory = whole;
  memory.model = share + store.compute_bytes();
  // The gradient stays; the parameters as they are are one of the shares.
  memory.resident = vector + kShares * share;
  const auto kept = in_files ? 0 : whole.resident - vector;
  memory.peak = whole.peak - whole.model - kept + memory.model + kShares * share + buckets;
  memory.files = std::max<std::int64_t>(0, whole.files - (in_files ? vector : 0));
  return memory;
}

}  // namespace blockwise
