// A parameter cut into pieces of rows, with its partition and its state: how state is spread over
// processes that hold a piece each, and joined again.
#pragma once

#include "core/partition/partition.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {

// Rows [begin, begin + rows) of a parameter, as a parameter. Heads along the rows are those that
// are whole within it.
Parameter parameter_rows(const Parameter& parameter, std::int64_t begin, std::int64_t rows);

// Those rows of the parameter's partition; state begins at 0. A section with labels or groups, or
// one that is merged, must lie within the rows or outside: UpdateRule::rows_together() says where
// cuts are.
TensorPartition partition_rows(const TensorPartition& partition, std::int64_t begin,
                               std::int64_t rows);

// Cuts of a parameter into at most `pieces` runs of rows, as even as rows_together() allows: the
// first row of each, then the number of rows.
std::vector<std::int64_t> row_cuts(const UpdateRule& rule, const Parameter& parameter,
                                   const TensorPartition& partition, std::int64_t pieces);

// The state of each piece, by the number of the state and then of the piece, as views of the
// whole's. Joined they are the whole: at::cat of flat pieces, in order.
std::vector<std::vector<at::Tensor>> cut_state(const UpdateRule& rule, const Parameter& parameter,
                                               const TensorPartition& partition, const State& state,
                                               const std::vector<std::int64_t>& cuts);

}  // namespace blockwise
