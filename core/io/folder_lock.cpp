#include "core/io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.hpp"

namespace blockwise {

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::string name = folder.empty() ? "." : folder.string();
  folder_ = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  require_input(folder_ >= 0, "{}: {}", name, std::strerror(errno));
  const bool taken = ::flock(folder_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (!taken) return;
  ::close(folder_);
  throw InputError(
      fmt::format("{}: another process is writing to this folder. Wait for it, or "
                  "stop it.",
                  name));
}

FolderLock::FolderLock(FolderLock&& other) noexcept : folder_(std::exchange(other.folder_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(folder_, other.folder_);
  return *this;
}

FolderLock::~FolderLock() {
  if (folder_ >= 0) ::close(folder_);
}

}  // namespace blockwise
