// The control groups that this process lies in: what containers and job schedulers bound.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace blockwise {

// Folders of the controller's files, from where its hierarchy is mounted to the process' own group:
// of version 2 and, where the controller ("cpu", "memory") has one, of version 1. In a container
// the group's path may be the host's, of which nothing is there but the mount itself. `root` is
// where /proc and /sys lie.
std::vector<std::filesystem::path> control_groups(const std::filesystem::path& root,
                                                  const std::string& controller);

}  // namespace blockwise
