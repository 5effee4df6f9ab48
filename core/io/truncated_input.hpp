// A file that becomes shorter while it is mapped. Reading what is gone is a SIGBUS, at whatever
// place of the program the bytes are needed, and would end it without a word.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace blockwise {

// While alive, these bytes are known to be of this file. Kept by map_file.
class InputRange {
 public:
  InputRange(const std::filesystem::path& path, std::span<const std::byte> bytes);
  ~InputRange();
  InputRange(const InputRange&) = delete;
  InputRange& operator=(const InputRange&) = delete;

  struct Slot;

 private:
  Slot* slot_;
};

// From now on a SIGBUS in a mapped file writes "blockwise: FILE: became shorter while it was read"
// to standard error and ends the process with exit code 2, as bad input does; any other SIGBUS does
// what it did before. For programs: a library takes no signals by itself.
void end_on_truncated_input();

}  // namespace blockwise
