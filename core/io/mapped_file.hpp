// A whole file mapped read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace blockwise {

struct MappedFile {
  std::shared_ptr<const void> mapping;  // unmaps when the last copy goes
  std::span<const std::byte> bytes;
};

// Throws InputError naming the file where it cannot be opened or mapped. An empty file maps to an
// empty span.
MappedFile map_file(const std::filesystem::path& path);

}  // namespace blockwise
