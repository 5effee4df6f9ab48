#include "core/base/cpu_quota.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "150000 100000"; "max 100000" is no bound, and neither is version 1's "-1".
std::optional<double> share_of(const std::string& quota_and_period) {
  std::istringstream words(quota_and_period);
  double quota = 0.0, period = 0.0;
  if (!(words >> quota >> period) || quota <= 0.0 || period <= 0.0) return std::nullopt;
  return quota / period;
}

std::optional<double> quota_in(const fs::path& group) {
  const auto second = first_line(group / "cpu.max");
  if (!second.empty()) return share_of(second);
  return share_of(first_line(group / "cpu.cfs_quota_us") + " " +
                  first_line(group / "cpu.cfs_period_us"));
}

// The smallest from the group up to where its hierarchy is mounted. In a container the group's
// path may be the host's, of which nothing is seen here but the mount itself.
std::optional<double> smallest_quota(const fs::path& mount, const std::string& group) {
  std::optional<double> smallest = quota_in(mount);
  fs::path path = mount;
  for (const auto& part : fs::path(group).relative_path()) {
    path /= part;
    const auto quota = quota_in(path);
    if (quota && (!smallest || *quota < *smallest)) smallest = quota;
  }
  return smallest;
}

}  // namespace

// Lines "0::/path" of version 2 and "4:cpu,cpuacct:/path" of version 1.
std::optional<double> cpu_quota(const fs::path& root) {
  std::ifstream groups(root / "proc/self/cgroup");
  std::optional<double> smallest;
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const bool of_cpu = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!controllers.empty() && !of_cpu) continue;
    const auto mount = root / "sys/fs/cgroup" / controllers;
    const auto quota = smallest_quota(mount, line.substr(second + 1));
    if (quota && (!smallest || *quota < *smallest)) smallest = quota;
  }
  return smallest;
}

}  // namespace blockwise
