// How much memory control groups leave to this process: containers and job schedulers end what
// takes more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace blockwise {

// Bytes: the least of limit - used over this process' control group and those that it lies in
// (version 2: memory.max, memory.current; version 1: memory.limit_in_bytes, memory.usage_in_bytes).
// What is used without the pages of files, which the system takes back. Nothing where there is no
// limit. `root` is where /proc and /sys lie.
std::optional<std::int64_t> group_memory(const std::filesystem::path& root = "/");

}  // namespace blockwise
