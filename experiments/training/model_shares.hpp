// ModelShares: how a run's optimizer is spread over its processes (parallel.shard), known before
// the model's own memory is taken: shares of the flat buffer are cut where the optimizer's rules
// allow it.
#pragma once

#include <memory>
#include <string>

#include "core/model.hpp"
#include "core/parallel/owners.hpp"
#include "experiments/config/parallel_config.hpp"
#include "optimizers/optimizer.hpp"

namespace blockwise {

// A process among those that make a run together.
struct RankNumber {
  std::int64_t number = 0, count = 1;
};

class ModelShares {
 public:
  // Throws InputError as Optimizer does, and where the weights of layers are to be shared and the
  // model has none that are separate. Costs no memory of the model's size.
  ModelShares(const OptimizerConfig& config, const ParallelConfig& parallel, const ModelSpec& model,
              const ParameterLayout& layout, RankNumber rank, std::uint64_t seed);

  // Whether every process has all of it, as one that is alone.
  bool is_whole() const { return owners_.empty(); }
  // Where it is not: the processes' shares, this one's, how many layers are collected as they are
  // used, and what the model's optimizer would be, on the meta device.
  const Owners& owners() const { return owners_; }
  OwnMasters own() const { return {owners_.own(rank_), layers_}; }
  std::int64_t gathered_layers() const { return layers_; }
  // Of all elements, what the process has that has most; 1 where every process has all.
  double largest_share() const;
  const Optimizer& all() const { return *all_; }
  // Who has what, for people; empty where everybody has all.
  const std::string& note() const { return note_; }

 private:
  std::int64_t rank_;
  std::int64_t layers_ = 0;
  Owners owners_;
  std::string note_;
  std::unique_ptr<ParameterStore> all_parameters_;
  std::unique_ptr<Optimizer> all_;
};

}  // namespace blockwise
