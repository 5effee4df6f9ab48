// How far two partitions of one model agree.
#pragma once

#include <cstdint>

#include "core/parameters/parameter_layout.hpp"
#include "core/partition/partition.hpp"

namespace blockwise {

// Over the sections of matrices; one whose rows are cut otherwise agrees in nothing.
struct PartitionAgreement {
  double adjusted_rand = 0.0;   // mean; of a rank-one section with another kind 0
  double same_structure = 0.0;  // share of sections
  std::int64_t sections = 0;
};
PartitionAgreement partition_agreement(const ParameterLayout& layout, const Partition& a,
                                       const Partition& b);

}  // namespace blockwise
