// A partition as a table for people.
#pragma once

#include <string>

#include "core/partition/partition.hpp"
#include "core/text/display_width.hpp"

namespace blockwise {

// Tensor, role, rule, structure, blocks, elements per block, values held; and the totals. No line
// is wider than `width`.
std::string partition_table(const ParameterLayout& layout, const Partition& partition,
                            std::size_t width = kUnlimitedWidth);

}  // namespace blockwise
