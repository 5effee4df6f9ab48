// Rows of a parameter and of its partition, as a parameter and a partition of their own.
#pragma once

#include "core/partition/partition.hpp"

namespace blockwise {

// Rows [begin, begin + rows) of a parameter, as a parameter. Heads along the rows are those that
// are whole within it.
Parameter parameter_rows(const Parameter& parameter, std::int64_t begin, std::int64_t rows);

// Those rows of the parameter's partition; state begins at 0. A section with labels or groups, or
// one that is merged, must lie within the rows or outside: UpdateRule::rows_together() says where
// cuts are.
TensorPartition partition_rows(const TensorPartition& partition, std::int64_t begin,
                               std::int64_t rows);

}  // namespace blockwise
