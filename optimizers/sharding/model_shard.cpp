#include "optimizers/sharding/model_shard.hpp"

#include <algorithm>
#include <numeric>

#include "core/partition/partition_rows.hpp"

namespace blockwise {
namespace {

// The lawful bound that is nearest to `wanted`, an element of this parameter.
std::int64_t nearest_cut(const Parameter& parameter, std::int64_t unit_rows, std::int64_t wanted) {
  const auto unit = unit_rows * parameter.columns();
  const auto below = (wanted - parameter.offset) / unit * unit;
  const auto above = std::min(below + unit, parameter.size());
  const bool down = wanted - parameter.offset - below <= above - (wanted - parameter.offset);
  return parameter.offset + (down ? below : above);
}

struct Rows {
  std::int64_t begin, count;
};

}  // namespace

ModelShard whole_model(const ParameterLayout& layout, Partition partition) {
  ModelShard shard;
  shard.layout = layout;
  shard.partition = std::move(partition);
  shard.numbers.resize(layout.parameters().size());
  std::iota(shard.numbers.begin(), shard.numbers.end(), std::size_t{0});
  for (const auto& parameter : layout.parameters()) {
    shard.first_elements.push_back(parameter.offset);
  }
  shard.model_tensors = std::int64_t(shard.numbers.size());
  shard.model_elements = layout.size();
  shard.model_layers = layout.layer_count();
  shard.total = [](double own) { return own; };
  return shard;
}

Shares shard_bounds(const ParameterLayout& layout, ElementRange unit,
                    const RowsTogether& rows_together, std::int64_t count) {
  Shares bounds{unit.begin};
  const auto& parameters = layout.parameters();
  std::size_t i = 0;
  for (std::int64_t r = 1; r < count; ++r) {
    const auto wanted = unit.begin + unit.size() * r / count;
    while (parameters[i].offset + parameters[i].size() <= wanted) ++i;
    bounds.push_back(std::max(bounds.back(), nearest_cut(parameters[i], rows_together(i), wanted)));
  }
  bounds.push_back(unit.end);
  return bounds;
}

ModelShard cut_shard(const ParameterLayout& layout, const Partition& partition,
                     const Owners& owners, std::int64_t number) {
  ModelShard shard;
  shard.begin = owners.own(number).front().begin;
  std::vector<Parameter> pieces;
  std::vector<TensorPartition> partitions;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    const auto& parameter = layout.parameters()[i];
    const auto bounds = owners.within(parameter.offset, parameter.offset + parameter.size());
    const auto columns = parameter.columns();
    const Rows rows{bounds[std::size_t(number)] / columns,
                    (bounds[std::size_t(number) + 1] - bounds[std::size_t(number)]) / columns};
    if (rows.count == 0) continue;
    pieces.push_back(parameter_rows(parameter, rows.begin, rows.count));
    partitions.push_back(partition_rows(partition.tensors()[i], rows.begin, rows.count));
    shard.numbers.push_back(i);
    shard.first_elements.push_back(parameter.offset + bounds[std::size_t(number)]);
  }
  shard.layout = ParameterLayout(std::move(pieces));
  shard.partition = Partition(shard.layout, partition.rule(), std::move(partitions));
  shard.model_tensors = std::int64_t(layout.parameters().size());
  shard.model_elements = layout.size();
  shard.model_layers = layout.layer_count();
  return shard;
}

}  // namespace blockwise
