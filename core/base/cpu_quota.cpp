#include "core/base/cpu_quota.hpp"

#include <fstream>
#include <sstream>
#include <string>

#include "core/base/control_groups.hpp"

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

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> smallest;
  for (const auto& group : control_groups(root, "cpu")) {
    const auto quota = quota_in(group);
    if (quota && (!smallest || *quota < *smallest)) smallest = quota;
  }
  return smallest;
}

}  // namespace blockwise
