// The table /hessian/commits: after every append a row with the step and how many rows of each
// table are complete, a column per table. What a killed writer left behind the last of them is of
// no account.
#pragma once

#include <cstdint>
#include <string>

#include "core/io/hdf5_file.hpp"

namespace blockwise {

void create_commits(Hdf5File& file);
// The rows that the tables have now.
void append_commit(Hdf5File& file, std::int64_t step);
// Of the table with this group, by the last whole commit; 0 without one.
std::int64_t committed_rows(const Hdf5File& file, const std::string& group);
// Before start_swmr(): those above `step`, and one of which some columns are missing.
void keep_commits_up_to(Hdf5File& file, std::int64_t step);
void drop_unfinished_commit(Hdf5File& file);

}  // namespace blockwise
