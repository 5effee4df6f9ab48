// Reading a file that another process is still writing.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <thread>

#include "core/base/error.hpp"

namespace blockwise {

// Size and time of the last change, as far as there is such a file.
struct FileState {
  off_t bytes = 0;
  timespec changed = {};

  explicit FileState(const std::filesystem::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return;
    bytes = status.st_size;
    changed = status.st_mtim;
  }
  bool operator==(const FileState& other) const {
    return bytes == other.bytes && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
  }
};

// What `read()` returns. A writer changes a file in several steps, and between two of them HDF5
// calls it damaged: its superblock may already tell a length that the file has not reached. So
// where read() throws InputError and the file has been written to since it began, or is within a
// tenth of a second, it is called again, up to 20 times. A file that is damaged does not change,
// and its error passes.
template <typename Read>
auto read_growing_file(const std::filesystem::path& path, const Read& read) {
  constexpr int kMostTries = 20;
  for (int i = 1;; ++i) {
    const FileState before(path);
    try {
      return read();
    } catch (const InputError&) {
      if (i == kMostTries) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (FileState(path) == before) throw;
    }
  }
}

}  // namespace blockwise
