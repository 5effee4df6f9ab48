// One process at a time for a folder. The lock goes with the process, also when it is killed.
#pragma once

#include <filesystem>

namespace blockwise {

class FolderLock {
 public:
  // Throws InputError where another process holds it (or this one, by another object) and still
  // does half a second later. File systems without such locks (some network ones) are used without.
  explicit FolderLock(const std::filesystem::path& folder);
  // Waits until nobody else has it.
  static FolderLock wait(const std::filesystem::path& folder);
  // Whether somebody has it at this moment; not where there is no such folder.
  static bool is_taken(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

  // False where the file system has no such locks: then others may be at work.
  bool is_held() const { return held_; }

 private:
  FolderLock() = default;

  int folder_ = -1;
  bool held_ = false;
};

}  // namespace blockwise
