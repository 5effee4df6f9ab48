// ModelShard: the part of a model that one optimizer of several updates and keeps state for
// (ZeRO-1: Rajbhandari et al., arXiv 1910.02054, section 5.1). Shards are consecutive elements of
// the flat buffer, or of each of its units, cut between rows where the rule allows it
// (UpdateRule::rows_together()): what a rule shares within a tensor, a block's second moment above
// all, needs no communication.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/parallel/owners.hpp"
#include "core/partition/partition.hpp"

namespace blockwise {

struct ModelShard {
  ParameterLayout layout;            // rows of the model's parameters, as parameters
  Partition partition;               // of them
  std::vector<std::size_t> numbers;  // in the model's layout
  // Of each of these the first element in the model's flat buffer, and of all of them.
  std::vector<std::int64_t> first_elements;
  std::int64_t begin = 0;
  std::int64_t model_tensors = 0, model_layers = 0, model_elements = 0;
  std::function<double(double)> total;  // adds up a number over all shards
};

// The shard that is the model.
ModelShard whole_model(const ParameterLayout& layout, Partition partition);

// How many rows of a tensor of the layout stay together.
using RowsTogether = std::function<std::int64_t(std::size_t)>;

// Bounds of shares of consecutive elements, which begin and end with parameters: between the first
// and the last of `wanted`, which do, the lawful ones that are nearest to it. A share may be empty.
Shares shard_bounds(const ParameterLayout& layout, const RowsTogether& rows_together,
                    const Shares& wanted);

// The shares of `count` ranks in each unit. Where a rule leaves few cuts, what a rank has too much
// of one unit it wants less of the next: what it has of all differs from an even share by about the
// largest piece that stays together, not by that for every unit.
Owners balanced_owners(const ParameterLayout& layout, const std::vector<WeightUnit>& units,
                       const RowsTogether& rows_together, std::int64_t count);

// One of the owners' shards. `total` is left to whoever knows the others.
ModelShard cut_shard(const ParameterLayout& layout, const Partition& partition,
                     const Owners& owners, std::int64_t number);

}  // namespace blockwise
