#include "core/memory/group_memory.hpp"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "core/base/control_groups.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// Nothing for "max", and for version 1's limit of whole pages below 2^63.
std::optional<std::int64_t> bytes_in(const fs::path& path) {
  constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;
  std::ifstream file(path);
  std::int64_t bytes = 0;
  if (!(file >> bytes) || bytes < 0 || bytes >= kNoLimit) return std::nullopt;
  return bytes;
}

// Of memory.stat: those of the group and all below it.
std::int64_t file_pages(const fs::path& group) {
  std::ifstream file(group / "memory.stat");
  std::int64_t own = 0, total = 0, bytes = 0;
  bool has_total = false;
  for (std::string key; file >> key >> bytes;) {
    const bool is_total = std::string_view(key).starts_with("total_");
    const auto name = is_total ? key.substr(6) : key;
    if (name != "inactive_file" && name != "active_file") continue;
    (is_total ? total : own) += bytes;
    has_total = has_total || is_total;
  }
  return has_total ? total : own;
}

std::optional<std::int64_t> left_in(const fs::path& group) {
  auto limit = bytes_in(group / "memory.max"), used = bytes_in(group / "memory.current");
  if (!limit) {
    limit = bytes_in(group / "memory.limit_in_bytes");
    used = bytes_in(group / "memory.usage_in_bytes");
  }
  if (!limit || !used) return limit;
  const auto held = std::max<std::int64_t>(0, *used - file_pages(group));
  return std::max<std::int64_t>(0, *limit - held);
}

}  // namespace

std::optional<std::int64_t> group_memory(const fs::path& root) {
  std::optional<std::int64_t> least;
  for (const auto& group : control_groups(root, "memory")) {
    const auto left = left_in(group);
    if (left && (!least || *left < *least)) least = left;
  }
  return least;
}

}  // namespace blockwise
