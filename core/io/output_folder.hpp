// The folder that a run, a sweep or a measurement writes to.
#pragma once

#include <filesystem>

#include "core/io/folder_lock.hpp"

namespace blockwise {

// Made where it is not there, and taken before anything in it is read or written. What ends before
// it wrote anything leaves no folder behind. Throws InputError where another process has taken it,
// std::filesystem::filesystem_error where it cannot be made.
class OutputFolder {
 public:
  explicit OutputFolder(const std::filesystem::path& path);
  // Waits for the other process instead, which is done soon.
  static OutputFolder when_free(const std::filesystem::path& path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

 private:
  OutputFolder(const std::filesystem::path& path, FolderLock (*take)(const std::filesystem::path&));

  std::filesystem::path path_;
  bool is_new_;
  FolderLock lock_;
};

}  // namespace blockwise
