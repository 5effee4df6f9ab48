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

// Of a file that is mapped, whoever mapped it: the whole pages among these bytes are resident no
// longer. They are read again where they are needed, and what was written to them is not lost.
void leave_pages(std::span<const std::byte> mapped);
// The same of memory of any kind; what has no file to be in stays where it is. The system keeps
// nothing of the file in memory either, so that reading it again takes longer.
void page_out(std::span<const std::byte> memory);

}  // namespace blockwise
