// The best configuration of each group of a sweep again, on seeds that chose nothing. The best of
// many is low by chance on the seeds that chose it; on others it shows what it is worth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

// Seeds for a confirmation where nobody says which: those of the folder's earlier confirmations, or
// else as many as the sweep has, the smallest from 1 on that neither chose a configuration nor
// found a partition.
std::vector<std::int64_t> confirmation_seeds(const std::filesystem::path& folder);

// Adds the confirmations to the folder's manifest; the sweep of them alone, ready to run. Throws
// InputError where members have not ended yet, where nothing finished, and where a seed is one of
// the sweep's own.
SweepManifest prepare_confirmation(const std::filesystem::path& folder,
                                   const std::vector<std::int64_t>& seeds);

}  // namespace blockwise
