#include "experiments/training/model_shares.hpp"

#include "core/base/error.hpp"
#include "experiments/training/shares_note.hpp"
#include "optimizers/sharding/model_shard.hpp"

namespace blockwise {
namespace {

// State in few bytes is in blocks of elements, which cuts between rows would not keep.
RowsTogether rows_together_of(const Optimizer& all, const ParameterLayout& layout) {
  return [&all, &layout, by_tensor = all.state().has_codecs()](std::size_t i) {
    const auto& parameter = layout.parameters()[i];
    return by_tensor
               ? parameter.rows()
               : all.rules().of(i).rule->rows_together(parameter, all.partition().tensors()[i]);
  };
}

Owners owners_of(const ParameterLayout& layout, const RowsTogether& rows_together,
                 std::int64_t layers, std::int64_t count) {
  std::vector<Shares> shares;
  for (const auto& unit : weight_units(layout, layers)) {
    shares.push_back(shard_bounds(layout, unit.elements, rows_together, count));
  }
  return Owners(std::move(shares));
}

std::int64_t layers_to_share(const ParallelConfig& parallel, const ModelSpec& model) {
  if (!parallel.shares_weights()) return 0;
  require_input(model.separate_layers() > 0,
                "parallel.shard is parameters, but model.family '{}' has no layers whose weights "
                "could be collected one by one",
                model.family());
  return model.separate_layers();
}

}  // namespace

ModelShares::ModelShares(const OptimizerConfig& config, const ParallelConfig& parallel,
                         const ModelSpec& model, const ParameterLayout& layout, const Ranks& ranks,
                         std::uint64_t seed)
    : rank_(ranks.rank()) {
  if (ranks.is_alone() || parallel.shard == "none") return;
  all_parameters_ = std::make_unique<ParameterStore>(layout, at::kMeta);
  auto in_memory = config;
  in_memory.state.resident_mb = 0;
  in_memory.state.folder.clear();
  all_ = std::make_unique<Optimizer>(in_memory, *all_parameters_, seed);
  layers_ = layers_to_share(parallel, model);
  const auto rows_together = rows_together_of(*all_, layout);
  owners_ = owners_of(layout, rows_together, layers_, ranks.size());
  note_ = shares_note(layout, owners_, rows_together);
}

}  // namespace blockwise
