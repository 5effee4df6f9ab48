#include "experiments/training/model_optimizer.hpp"

#include <numeric>

#include "core/base/error.hpp"
#include "experiments/records/checkpoint.hpp"

namespace blockwise {

ModelOptimizer::ModelOptimizer(const OptimizerConfig& config, const ParallelConfig& parallel,
                               ParameterStore& store, const Ranks& ranks, std::uint64_t seed)
    : store_(store), ranks_(ranks) {
  if (ranks.is_alone() || parallel.shard == "none") {
    own_ = std::make_unique<Optimizer>(config, store, seed);
    return;
  }
  require_input(!store.splits_masters(),
                "parallel.shard is {}, but trainer.master_weights is not fp32", parallel.shard);
  all_parameters_ = std::make_unique<ParameterStore>(store.layout(), at::kMeta);
  auto in_memory = config;
  in_memory.state.resident_mb = 0;
  in_memory.state.folder.clear();
  all_ = std::make_unique<Optimizer>(in_memory, *all_parameters_, seed);
  cut(config, seed);
  shared_.emplace(own_->saved_state(), all_->saved_state(), ranks);
}

void ModelOptimizer::cut(const OptimizerConfig& config, std::uint64_t seed) {
  const auto& layout = store_.layout();
  const auto& partition = all_->partition();
  // State in few bytes is in blocks of elements, which cuts between rows would not keep.
  const bool by_tensor = all_->state().has_codecs();
  const auto rows_together = [&](std::size_t i) {
    const auto& parameter = layout.parameters()[i];
    return by_tensor ? parameter.rows()
                     : all_->rules().of(i).rule->rows_together(parameter, partition.tensors()[i]);
  };
  owners_ = shard_bounds(layout, rows_together, ranks_.size());
  auto shard = cut_shard(layout, partition, owners_, ranks_.rank());
  shard.total = [&ranks = ranks_](double own) {
    const auto all = ranks.gather({&own, 1});
    return std::accumulate(all.begin(), all.end(), 0.0);
  };
  own_parameters_ = std::make_unique<ParameterStore>(store_, shard.layout, shard.begin);
  own_ = std::make_unique<Optimizer>(config, *own_parameters_, std::move(shard), seed);
}

StepReport ModelOptimizer::step(double learning_rate) {
  const auto report = own_->step(learning_rate);
  if (owners_.empty()) return report;
  ranks_.start_share(store_.parameters(), owners_)->wait();
  for (std::size_t i = 0; i < store_.tensors().size(); ++i) store_.publish(i);
  return report;
}

std::vector<LateTensor> ModelOptimizer::state_tensors(const BeforeCollect& before) const {
  if (!shared_) return blockwise::state_tensors(*own_);
  auto tensors = shared_->tensors();
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    tensors[k].make = [this, before, k] {
      before(std::int64_t(k));
      return shared_->collect(k);
    };
  }
  return tensors;
}

void ModelOptimizer::load_state(std::int64_t steps, const NamedTensors& saved) {
  own_->load_state(steps, shared_ ? shared_->pieces(saved) : saved);
}

}  // namespace blockwise
