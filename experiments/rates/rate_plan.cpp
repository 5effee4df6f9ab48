#include "experiments/rates/rate_plan.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/measured_hash.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_store.hpp"
#include "experiments/curvature/vectors_in_files.hpp"
#include "experiments/rates/measured_rates.hpp"

namespace blockwise {
namespace {

void require_rule(const RunConfig& config) {
  require_input(config.optimizer.uses_partition(),
                "search-lr: optimizer.rule '{}' has no partition whose blocks could have rates; "
                "--set optimizer.rule=adam_mini or blockwise_sgd",
                config.optimizer.rule);
  require_input(config.search_lr.method != "leave_out" || config.optimizer.rule == "adam_mini",
                "search_lr.method leave_out trains with AdamW beside what is left out: "
                "optimizer.rule is to be adam_mini, not '{}'",
                config.optimizer.rule);
}

// Sections that are left out are picked among those of matrices.
void require_left_out(const ResolvedRateSearch& search) {
  if (search.config.search_lr.method != "leave_out") return;
  const auto most = std::ssize(matrix_targets(search.partition, search.targets));
  for (const auto count : search.config.search_lr.left_out) {
    require_input(count <= most, "search_lr.left_out: {} sections of matrices, and there are {}",
                  count, most);
  }
}

// Bytes beside products: the Lanczos vectors of the largest target; or, at another time, groups of
// all second moments.
std::int64_t bytes_beside_products(const ResolvedRateSearch& search) {
  constexpr std::int64_t kBeside = 3, kOfMoments = 2;
  const auto& rates = search.config.search_lr;
  const std::int64_t element = search.config.hessian.precision == "fp64" ? 8 : 4;
  std::int64_t most = 0;
  for (const auto& target : search.targets) {
    const auto rows = target.index.numel(), vectors = std::min(rates.products, rows) + kBeside;
    most = std::max(most, checked_product("bytes of Lanczos vectors", {element, vectors, rows}));
  }
  const auto moments = checked_product("bytes of second moments x parameters",
                                       {8, kMomentGroups + kOfMoments, search.layout.size()});
  return std::max(rates.needs_products() ? most : 0, rates.needs_gradients() ? moments : 0);
}

}  // namespace

ResolvedRateSearch resolve_rate_search(RunConfig given) {
  require_rule(given);
  ResolvedRateSearch search;
  search.data = open_data(given);
  search.layout = given.model.spec->layout();
  search.config = std::move(given);
  const auto& config = search.config;
  const auto& rates = config.search_lr;
  const auto& hessian = config.hessian;
  const auto device = resolve_device(config.trainer.device);
  require_measured_store(config, search.layout, device);
  search.partition = config.optimizer.make_partition(search.layout);
  if (rates.needs_products()) require_examples(hessian, *search.data, rates.samples);
  search.targets = rate_targets(search.partition, rates.by_trials() ? "section" : rates.per);
  require_left_out(search);
  search.moment_batches =
      run_moment_batches(config, search.data->shape().sequence_length, rates.gradient_batches,
                         rates.needs_products() ? rates.samples : 1);
  if (rates.needs_gradients()) require_moment_examples(search.moment_batches, *search.data);
  search.curvature_work = curvature_rates_work(search);
  search.moment_work = moment_rates_work(search);
  search.memory = hessian_memory(config, *search.data);
  search.memory.peak =
      checked_sum("search-lr: bytes", search.memory.peak, bytes_beside_products(search));
  if (rates.needs_products()) {
    require_available(search.memory.peak, device, "search-lr", kSmallerProducts);
    require_room_for_vectors(config, device, search.memory.files);
  }
  search.hash = config_hash(config);
  search.measured = measured_hash(config);
  return search;
}

}  // namespace blockwise
