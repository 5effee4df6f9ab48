#include "core/base/control_groups.hpp"

#include <fstream>

namespace blockwise {

namespace fs = std::filesystem;

// Lines "0::/path" of version 2 and "4:cpu,cpuacct:/path" of version 1.
std::vector<fs::path> control_groups(const fs::path& root, const std::string& controller) {
  std::vector<fs::path> folders;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const bool is_of_it =
        ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!controllers.empty() && !is_of_it) continue;
    auto path = root / "sys/fs/cgroup" / controllers;
    folders.push_back(path);
    for (const auto& part : fs::path(line.substr(second + 1)).relative_path()) {
      path /= part;
      folders.push_back(path);
    }
  }
  return folders;
}

}  // namespace blockwise
