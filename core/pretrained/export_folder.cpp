#include "core/pretrained/export_folder.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/pretrained/companion_files.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = "export.partial";
constexpr std::string_view kMarkText = "An export of blockwise that is not finished.\n";

// What stands in a folder is a path of its own or, half written, one with ".partial" behind it.
bool is_ours(std::string name) {
  if (name == kMark) return true;
  if (name.ends_with(".partial")) name.resize(name.size() - 8);
  const bool weights = name.starts_with("model") &&
                       (name.ends_with(".safetensors") || name == "model.safetensors.index.json");
  const auto& companions = companion_file_names();
  return weights || name == kMark || name == "config.json" ||
         std::find(companions.begin(), companions.end(), name) != companions.end();
}

std::vector<fs::path> entries(const fs::path& folder) {
  return {fs::directory_iterator(folder), fs::directory_iterator()};
}

// The mark goes last: who dies here can be asked again, too.
void delete_leftovers(const fs::path& folder) {
  for (const auto& path : entries(folder)) {
    const bool file = fs::symlink_status(path).type() == fs::file_type::regular;
    require_input(file && is_ours(path.filename().string()),
                  "{}: an export was interrupted here, and {} is none of its files: delete the "
                  "folder, or choose another",
                  folder.string(), path.filename().string());
  }
  for (const auto& path : entries(folder)) {
    if (path.filename() != kMark) fs::remove(path);
  }
}

// A mark that was being written itself, and nothing else, is one of ours, too.
bool is_marked(const fs::path& folder) {
  if (input_exists(folder / kMark)) return read_text_file(folder / kMark, 1024) == kMarkText;
  const auto there = entries(folder);
  return there.size() == 1 && there.front().filename() == std::string(kMark) + ".partial";
}

FolderLock take(const fs::path& folder) {
  require_input(!input_exists(folder) || fs::is_directory(folder), "{}: is no folder",
                folder.string());
  fs::create_directories(folder);
  FolderLock lock(folder);
  const bool marked = is_marked(folder);
  require_input(marked || fs::is_empty(folder), "{}: this folder is there already and not empty",
                folder.string());
  if (marked) delete_leftovers(folder);
  write_file_atomically(folder / kMark, kMarkText);
  return lock;
}

}  // namespace

ExportFolder::ExportFolder(const fs::path& folder) : folder_(folder), lock_(take(folder)) {}

void ExportFolder::finish() {
  sync_path(folder_);
  fs::remove(folder_ / kMark);
  sync_path(folder_);
}

}  // namespace blockwise
