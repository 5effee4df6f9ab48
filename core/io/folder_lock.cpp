#include "core/io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "core/base/error.hpp"

namespace blockwise {

namespace {

int open_folder(const std::filesystem::path& folder) {
  const std::string name = folder.empty() ? "." : folder.string();
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  require_input(descriptor >= 0, "{}: {}", name, std::strerror(errno));
  return descriptor;
}

bool lock_now(int folder) { return ::flock(folder, LOCK_EX | LOCK_NB) == 0; }

// A process that was killed can leave a trial (trial_process.hpp) that shares its lock until the
// system has ended it, too: a moment, in which the next start is not to be refused.
bool lock_soon(int folder) {
  constexpr auto kPause = std::chrono::milliseconds(10);
  constexpr int kPauses = 50;
  for (int i = 0; !lock_now(folder); ++i) {
    if (errno != EWOULDBLOCK || i == kPauses) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) : folder_(open_folder(folder)) {
  held_ = lock_soon(folder_);
  const bool taken = !held_ && errno == EWOULDBLOCK;
  if (!taken) return;
  ::close(folder_);
  throw InputError(
      fmt::format("{}: another process is writing to this folder. Wait for it, or "
                  "stop it.",
                  folder.empty() ? "." : folder.string()));
}

FolderLock FolderLock::wait(const std::filesystem::path& folder) {
  FolderLock lock;
  lock.folder_ = open_folder(folder);
  do {
    lock.held_ = ::flock(lock.folder_, LOCK_EX) == 0;
  } while (!lock.held_ && errno == EINTR);
  return lock;
}

bool FolderLock::is_taken(const std::filesystem::path& folder) {
  std::error_code unknown;
  if (!std::filesystem::is_directory(folder, unknown)) return false;
  FolderLock lock;
  lock.folder_ = open_folder(folder);
  lock.held_ = lock_now(lock.folder_);
  return !lock.held_ && errno == EWOULDBLOCK;
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : folder_(std::exchange(other.folder_, -1)), held_(std::exchange(other.held_, false)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(held_, other.held_);
  return *this;
}

FolderLock::~FolderLock() {
  if (folder_ >= 0) ::close(folder_);
}

}  // namespace blockwise
