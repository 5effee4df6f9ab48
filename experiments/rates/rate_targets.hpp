// What gets a learning rate of its own.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

// A section of a tensor, or one block of it.
struct RateTarget {
  std::size_t tensor = 0;   // of the layout
  std::size_t section = 0;  // of the tensor's partition
  std::int64_t block = -1;  // of the section; -1: all of it
  at::Tensor index;         // int64: its elements in the tensor
};

// In the layout's order. per: section or block, as search_lr.per.
std::vector<RateTarget> rate_targets(const Partition& partition, const std::string& per);

// Numbers of the targets in sections of matrices, which have more than one column.
std::vector<std::size_t> matrix_targets(const Partition& partition,
                                        const std::vector<RateTarget>& targets);

const PartitionSection& section_of(const Partition& partition, const RateTarget& target);

}  // namespace blockwise
