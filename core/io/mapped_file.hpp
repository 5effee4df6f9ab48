// A whole file mapped read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>

namespace blockwise {

struct MappedFile {
  std::shared_ptr<const void> mapping;  // unmaps when the last copy goes
  std::span<const std::byte> bytes;
};

// Throws InputError naming the file where it cannot be opened or mapped, or has more than `limit`
// bytes. An empty file maps to an empty span. A file that becomes shorter while it is mapped:
// truncated_input.hpp.
MappedFile map_file(const std::filesystem::path& path,
                    std::size_t limit = std::numeric_limits<std::size_t>::max());

}  // namespace blockwise
