#include "optimizers/sharding/model_shard.hpp"

#include <algorithm>
#include <cmath>
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

// Of a unit, where ranks that have so much of those before it lack so much of an even share.
Shares wanted_bounds(ElementRange unit, const std::vector<std::int64_t>& have) {
  const auto count = double(have.size());
  const auto all = std::accumulate(have.begin(), have.end(), unit.size());
  std::vector<double> lacking{0.0};  // of the ranks before
  for (const auto own : have) {
    lacking.push_back(lacking.back() + std::max(0.0, double(all) / count - double(own)));
  }
  Shares bounds;
  for (const auto before : lacking) {
    bounds.push_back(unit.begin + std::llround(double(unit.size()) * before / lacking.back()));
  }
  return bounds;
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

Shares shard_bounds(const ParameterLayout& layout, const RowsTogether& rows_together,
                    const Shares& wanted) {
  Shares bounds{wanted.front()};
  const auto& parameters = layout.parameters();
  std::size_t i = 0;
  for (std::size_t r = 1; r + 1 < wanted.size(); ++r) {
    if (wanted[r] == wanted.back()) {
      bounds.push_back(wanted.back());
      continue;
    }
    while (parameters[i].offset + parameters[i].size() <= wanted[r]) ++i;
    bounds.push_back(
        std::max(bounds.back(), nearest_cut(parameters[i], rows_together(i), wanted[r])));
  }
  bounds.push_back(wanted.back());
  return bounds;
}

Owners balanced_owners(const ParameterLayout& layout, const std::vector<WeightUnit>& units,
                       const RowsTogether& rows_together, std::int64_t count) {
  std::vector<std::int64_t> have(std::size_t(count), 0);
  std::vector<Shares> shares;
  for (const auto& unit : units) {
    const auto& bounds = shares.emplace_back(
        shard_bounds(layout, rows_together, wanted_bounds(unit.elements, have)));
    for (std::size_t r = 0; r < have.size(); ++r) have[r] += bounds[r + 1] - bounds[r];
  }
  return Owners(std::move(shares));
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
