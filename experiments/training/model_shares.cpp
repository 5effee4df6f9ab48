#include "experiments/training/model_shares.hpp"

#include <algorithm>

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
                         const ModelSpec& model, const ParameterLayout& layout, RankNumber rank,
                         std::uint64_t seed)
    : rank_(rank.number) {
  if (rank.count == 1 || parallel.shard == "none") return;
  all_parameters_ = std::make_unique<ParameterStore>(layout, at::kMeta);
  auto in_memory = config;
  in_memory.state.resident_mb = 0;
  in_memory.state.folder.clear();
  all_ = std::make_unique<Optimizer>(in_memory, *all_parameters_, seed);
  layers_ = layers_to_share(parallel, model);
  const auto rows_together = rows_together_of(*all_, layout);
  owners_ = balanced_owners(layout, weight_units(layout, layers_), rows_together, rank.count);
  note_ = shares_note(layout, owners_, rows_together);
}

double ModelShares::largest_share() const {
  if (is_whole()) return 1.0;
  const auto size = all_parameters_->layout().size();
  const auto count = std::int64_t(owners_.units().front().size()) - 1;
  std::int64_t most = 0;
  for (std::int64_t r = 0; r < count; ++r) most = std::max(most, owners_.place(r, size));
  return double(most) / double(size);
}

}  // namespace blockwise
