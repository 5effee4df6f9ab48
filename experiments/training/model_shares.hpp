// ModelShares: how a run's optimizer is spread over its processes (parallel.shard), known before
// the model's own memory is taken: shares of the flat buffer are cut where the optimizer's rules
// allow it.
#pragma once

#include <memory>

#include "core/parallel/ranks.hpp"
#include "experiments/config/parallel_config.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {

class ModelShares {
 public:
  // Throws InputError as Optimizer does. Costs no memory of the model's size.
  ModelShares(const OptimizerConfig& config, const ParallelConfig& parallel,
              const ParameterLayout& layout, const Ranks& ranks, std::uint64_t seed);

  // Whether every process has all of it, as one that is alone.
  bool is_whole() const { return owners_.empty(); }
  // Where it is not: bounds of the processes' shares, this one's, and what the model's optimizer
  // would be, on the meta device.
  const Shares& owners() const { return owners_; }
  ElementRange own() const { return own_; }
  const Optimizer& all() const { return *all_; }

 private:
  Shares owners_;
  ElementRange own_;
  std::unique_ptr<ParameterStore> all_parameters_;
  std::unique_ptr<Optimizer> all_;
};

}  // namespace blockwise
