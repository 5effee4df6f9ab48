// The folder of an export while it is written. A file `export.partial` marks it until the end, so
// that whoever died on the way can simply be asked again, and nothing of anybody else's is touched.
#pragma once

#include <filesystem>

#include "core/io/folder_lock.hpp"

namespace blockwise {

class ExportFolder {
 public:
  // Makes the folder, or takes one that is empty or marked; of a marked one the files that an
  // export writes are deleted. Throws InputError for any other folder, for one whose marked content
  // holds something that no export writes, and while another process is at it.
  explicit ExportFolder(const std::filesystem::path& folder);
  // Everything is on the disk: takes the mark away.
  void finish();

 private:
  std::filesystem::path folder_;
  FolderLock lock_;
};

}  // namespace blockwise
