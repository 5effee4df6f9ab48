// Losses on further validation sets, beside the evaluations of a run: a column
// /evaluations/loss_NAME each, and the names in their order in /validation_sets/name. A run that
// goes on may have more of them than before, or fewer: NaN where a set was not evaluated.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"

namespace blockwise {

using NamedLosses = std::map<std::string, double>;

// As many as `names`, which has all that `losses` has; NaN for what is not there.
std::vector<double> in_order(const NamedLosses& losses, const std::vector<std::string>& names);

// Of those names that the file does not have, with NaN for the evaluations that are there. Before
// start_swmr().
void add_named_losses(Hdf5File& file, const std::vector<std::string>& names);
std::vector<std::string> named_loss_sets(const Hdf5File& file);
// Of so many evaluations the first ones that all sets have: a writer that was killed may have left
// some columns longer than others.
std::int64_t rows_of_all_sets(const Hdf5File& file, std::int64_t evaluations);
// As many rows as the evaluations have. Before start_swmr().
void cut_named_losses(Hdf5File& file);
// rows: of every evaluation the losses in the order of the names.
void append_named_losses(Hdf5File& file, const std::vector<std::string>& names,
                         const std::vector<std::vector<double>>& rows);
// [rows][names], of the first rows that all columns have.
std::vector<std::vector<double>> read_named_losses(const Hdf5File& file,
                                                   const std::vector<std::string>& names);

}  // namespace blockwise
