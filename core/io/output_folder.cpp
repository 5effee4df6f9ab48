#include "core/io/output_folder.hpp"

#include <system_error>

namespace blockwise {

OutputFolder::OutputFolder(const std::filesystem::path& path)
    : OutputFolder(path, [](const std::filesystem::path& folder) { return FolderLock(folder); }) {}

OutputFolder::OutputFolder(const std::filesystem::path& path,
                           FolderLock (*take)(const std::filesystem::path&))
    : path_(path), is_new_(std::filesystem::create_directories(path)), lock_(take(path)) {}

OutputFolder OutputFolder::when_free(const std::filesystem::path& path) {
  return {path, &FolderLock::wait};
}

OutputFolder::~OutputFolder() {
  std::error_code not_empty;
  if (is_new_) std::filesystem::remove(path_, not_empty);
}

}  // namespace blockwise
