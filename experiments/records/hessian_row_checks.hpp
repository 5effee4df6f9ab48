// Rows of /hessian that come from a file: their numbers of parts, rules and so on are used as
// places in tables, so they are checked before.
#pragma once

#include <map>
#include <string>

#include "experiments/records/hessian_recorder.hpp"

namespace blockwise {

// Rows of the tables that numbers refer to, by HessianObjects.
using HessianExtents = std::map<std::string, std::int64_t, std::less<>>;

HessianExtents extents_of(const HessianTables& tables, const ParameterLayout& layout);
// Of the file's own tables.
HessianExtents read_hessian_extents(const Hdf5File& file);

// Throws InputError "FILE: /hessian/summary/block: row 3 is 7, allowed are 0 to 4" for the first
// number that refers to nothing, and for counts below 0, as the columns say. O(rows).
void check_hessian_rows(const HessianRows& rows, const HessianExtents& extents,
                        const std::string& file);

}  // namespace blockwise
