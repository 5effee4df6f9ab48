// Losses on further validation sets, beside the evaluations of a run: a column
// /evaluations/loss_NAME each, and the names in their order in /validation_sets/name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/hdf5_file.hpp"

namespace blockwise {

// Before start_swmr(); nothing without names.
void create_named_losses(Hdf5File& file, const std::vector<std::string>& names);
std::vector<std::string> named_loss_sets(const Hdf5File& file);
// As many rows as the evaluations have. Before start_swmr().
void cut_named_losses(Hdf5File& file);
// rows: of every evaluation the losses in the order of the names.
void append_named_losses(Hdf5File& file, const std::vector<std::string>& names,
                         const std::vector<std::vector<double>>& rows);
// [rows][names], of the first rows that all columns have.
std::vector<std::vector<double>> read_named_losses(const Hdf5File& file,
                                                   const std::vector<std::string>& names);

}  // namespace blockwise
