#include "core/io/hdf5_mend.hpp"

#include <unistd.h>

#include <array>

#include "core/base/error.hpp"
#include "core/io/folder_lock.hpp"
#include "core/io/hdf5_file.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {
namespace {

// The superblock of version 3: signature (8 bytes), version, sizes of offsets and of lengths, and
// the flags, of which bit 0 says that the file is open for writing and bit 2 that readers may
// follow.
constexpr std::size_t kVersionAt = 8, kFlagsAt = 11;
constexpr unsigned char kVersion = 3, kOpenFlags = 0x05;

}  // namespace

bool is_marked_open(const std::filesystem::path& path) {
  if (!Hdf5File::is_hdf5(path)) return false;
  const InputFile file(path);
  std::array<unsigned char, kFlagsAt + 1> start{};
  const auto got = ::pread(file.descriptor(), start.data(), start.size(), 0);
  return got == ssize_t{start.size()} && start[kVersionAt] >= kVersion &&
         (start[kFlagsAt] & kOpenFlags) != 0;
}

bool mend_hdf5(const std::filesystem::path& path) {
  if (!is_marked_open(path)) return false;
  Hdf5File::open_for_appending(path).close();
  return true;
}

bool mend_abandoned_hdf5(const std::filesystem::path& path) noexcept {
  try {
    if (!is_marked_open(path)) return false;
    const FolderLock lock(path.parent_path());
    return lock.is_held() && mend_hdf5(path);
  } catch (const std::exception&) {
    return false;  // whoever reads the file says what is wrong with it
  }
}

}  // namespace blockwise
