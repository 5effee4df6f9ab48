#include "experiments/training/model_shares.hpp"

#include "optimizers/sharding/model_shard.hpp"

namespace blockwise {
namespace {

Shares shares_of(const Optimizer& all, const ParameterLayout& layout, std::int64_t count) {
  // State in few bytes is in blocks of elements, which cuts between rows would not keep.
  const bool by_tensor = all.state().has_codecs();
  const auto rows_together = [&](std::size_t i) {
    const auto& parameter = layout.parameters()[i];
    return by_tensor
               ? parameter.rows()
               : all.rules().of(i).rule->rows_together(parameter, all.partition().tensors()[i]);
  };
  return shard_bounds(layout, rows_together, count);
}

}  // namespace

ModelShares::ModelShares(const OptimizerConfig& config, const ParallelConfig& parallel,
                         const ParameterLayout& layout, const Ranks& ranks, std::uint64_t seed) {
  if (ranks.is_alone() || parallel.shard == "none") return;
  all_parameters_ = std::make_unique<ParameterStore>(layout, at::kMeta);
  auto in_memory = config;
  in_memory.state.resident_mb = 0;
  in_memory.state.folder.clear();
  all_ = std::make_unique<Optimizer>(in_memory, *all_parameters_, seed);
  owners_ = shares_of(*all_, layout, ranks.size());
  const auto rank = static_cast<std::size_t>(ranks.rank());
  own_ = {owners_[rank], owners_[rank + 1]};
}

}  // namespace blockwise
