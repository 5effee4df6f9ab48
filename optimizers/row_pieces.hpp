// The state of a parameter that is cut into pieces of rows (core/partition/partition_rows.hpp), and
// where a rule lets it be cut.
#pragma once

#include "core/partition/partition.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {

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
