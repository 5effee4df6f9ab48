#include "experiments/rates/rate_plan.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/memory/memory_meter.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/run_data.hpp"
#include "experiments/curvature/hessian_batches.hpp"
#include "experiments/curvature/measured_store.hpp"

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

void require_memory(const RunConfig& config, const ProductMemory& memory) {
  const auto available = available_bytes(resolve_device(config.trainer.device));
  require_input(!config.search_lr.needs_products() || available == 0 || memory.peak <= available,
                "search-lr: this takes {:.2f} GiB, {:.2f} GiB are available. Smaller: "
                "hessian.batches or hessian.batch_size, hessian.method fresh_graph or "
                "finite_difference",
                double(memory.peak) / double(1 << 30), double(available) / double(1 << 30));
}

std::int64_t most_products(const RateSearchConfig& c, const std::vector<RateTarget>& targets) {
  if (!c.needs_products()) return 0;
  std::int64_t products = 0;
  for (const auto& target : targets) {
    products += std::min<std::int64_t>(c.products, target.index.numel()) * c.samples;
  }
  return products;
}

// Each example of each squared gradient once, against the examples of one gradient.
double moment_cost(const HessianConfig& h, const MomentBatches& batches) {
  return double(batches.of_group() * kMomentGroups) * double(batches.size()) /
         (double(h.batches) * double(h.batch_size));
}

std::int64_t progress_units(const RateSearchConfig& c, std::int64_t targets,
                            const MomentBatches& batches) {
  return (c.needs_products() ? targets * c.samples : 0) +
         (c.needs_gradients() ? batches.of_group() * kMomentGroups : 0);
}

}  // namespace

ResolvedRateSearch resolve_rate_search(RunConfig config) {
  require_rule(config);
  ResolvedRateSearch search;
  search.data = open_data(config);
  search.layout = config.model.spec->layout();
  require_measured_store(config, search.layout, resolve_device(config.trainer.device));
  search.partition = config.optimizer.make_partition(search.layout);
  const auto& c = config.search_lr;
  const auto& h = config.hessian;
  if (c.needs_products()) require_examples(h, *search.data, c.samples);
  search.targets = rate_targets(search.partition, c.by_trials() ? "section" : c.per);
  search.products = most_products(c, search.targets);
  search.moment_batches =
      run_moment_batches(config, search.data->shape().sequence_length, c.gradient_batches);
  search.product_gradients =
      double(search.products) * product_cost(h.product_method(), h.curvature_kind());
  if (c.needs_gradients()) search.moment_gradients = moment_cost(h, search.moment_batches);
  if (c.needs_gradients()) require_moment_examples(search.moment_batches, *search.data);
  search.units = progress_units(c, std::ssize(search.targets), search.moment_batches);
  search.memory =
      product_memory(*config.model.spec, h.dtype(), hessian_batch_shape(h, *search.data, h.dtype()),
                     h.batches, {h.product_method(), h.curvature_kind()});
  require_memory(config, search.memory);
  search.hash = config_hash(config);
  search.config = std::move(config);
  return search;
}

}  // namespace blockwise
