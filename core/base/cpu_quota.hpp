// How much of the machine a control group leaves to this process: containers and job schedulers
// often bound the time on cores instead of taking cores away.
#pragma once

#include <filesystem>
#include <optional>

namespace blockwise {

// Cores' worth of time per second, 1.5 for example: the smallest quota of this process's control
// group (version 2: cpu.max; version 1: cpu.cfs_quota_us) and of those that it lies in. Nothing
// where there is none, or no control groups. `root` is where /proc and /sys lie.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace blockwise
