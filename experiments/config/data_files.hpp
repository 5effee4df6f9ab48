// The files that a run reads its data from, with what their content is known by.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"
#include "experiments/records/data_file.hpp"

namespace blockwise {

// In the order in which they are read: shards, each with its mask behind it. Empty for data that
// are made up. Cost: 1 MiB of reading per file. Throws InputError for what cannot be read.
std::vector<DataFile> data_files(const RunConfig& config);

}  // namespace blockwise
