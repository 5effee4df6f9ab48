// Files that are there whole or not at all: written beside their name, synced, renamed.
#pragma once

#include <filesystem>
#include <string_view>

namespace blockwise {

// Throws std::runtime_error with the file and the system's reason when it cannot be written; what
// stood under the name before stays.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Flushes a finished file or folder to the disk.
void sync_path(const std::filesystem::path& path);

}  // namespace blockwise
