#include "core/io/output_folder.hpp"

#include <system_error>

namespace blockwise {

OutputFolder::OutputFolder(const std::filesystem::path& path)
    : path_(path), is_new_(std::filesystem::create_directories(path)), lock_(path) {}

OutputFolder::~OutputFolder() {
  std::error_code not_empty;
  if (is_new_) std::filesystem::remove(path_, not_empty);
}

}  // namespace blockwise
