// Files without a name: gone with their descriptor, whatever ends the process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace blockwise {

// A descriptor of a new file of `bytes`, readable and writable, in the folder (empty: the working
// one), which the caller closes. Its room on the disk is taken at once: a full disk found later
// would be a signal. Throws InputError with the folder where it can hold no file of that size, or
// none at all; `what` says what it is for.
int open_nameless_file(const std::filesystem::path& folder, std::int64_t bytes,
                       std::string_view what);

// The file mapped into memory, shared with it; null for 0 bytes. Throws InputError with `what`
// where the system cannot. The descriptor may be closed, the caller unmaps.
std::byte* map_shared(int file, std::int64_t bytes, std::string_view what);

}  // namespace blockwise
