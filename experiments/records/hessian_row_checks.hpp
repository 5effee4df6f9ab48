// Rows of /hessian that come from a file: their numbers of blocks, rules and so on are used as
// places in tables, so they are checked before.
#pragma once

#include <string>

#include "experiments/records/hessian_recorder.hpp"

namespace blockwise {

// Rows of the tables that the numbers refer to.
struct HessianExtents {
  std::int64_t blocks = 0, symmetries = 0, rules = 0, functions = 0, tensors = 0;
};

HessianExtents extents_of(const HessianTables& tables, const ParameterLayout& layout);
// Of the file's own tables.
HessianExtents read_hessian_extents(const Hdf5File& file);

// Throws InputError "FILE: /hessian/summary/block: row 3 is 7, allowed are 0 to 4" for the first
// number that refers to nothing, and for counts below 0. O(rows).
void check_hessian_rows(const HessianRows& rows, const HessianExtents& extents,
                        const std::string& file);

}  // namespace blockwise
