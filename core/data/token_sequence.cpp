#include "core/data/token_sequence.hpp"

#include <glob.h>

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code unknown;  // what it is, the reader will say
    const bool is_folder = entry->is_directory(unknown);
    if (!is_folder && entry->path().extension() == ".bin") files.push_back(entry->path());
  }
  require_input(!error, "{}: {}", folder.string(), error.message());
  require_input(!files.empty(), "{}: this folder has no *.bin file", folder.string());
  return files;
}

std::vector<fs::path> files_like(const std::string& pattern) {
  glob_t found{};
  const int error = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<fs::path> files(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  std::erase_if(files, [](const auto& file) { return file.extension() == kMaskExtension; });
  require_input(error == 0 && !files.empty(), "{}: no file matches this pattern", pattern);
  return files;
}

}  // namespace

std::vector<fs::path> find_token_files(const std::string& place) {
  std::vector<fs::path> files = {place};
  // A file may have a star in its name.
  const bool there = input_exists(place);
  if (there && fs::is_directory(place)) {
    files = files_in(place);
  } else if (!there && place.find('*') != std::string::npos) {
    files = files_like(place);
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.native() < b.native(); });
  return files;
}

TokenSequence::TokenSequence(const std::vector<fs::path>& files, TokenLayout layout) : starts_{0} {
  for (const auto& path : files) {
    files_.emplace_back(path, layout);
    masks_.push_back(find_token_mask(files_.back()));
    starts_.push_back(checked_sum("tokens of all files", starts_.back(), files_.back().size()));
  }
}

// The last file that starts at or before it; empty files start where the next one does.
std::size_t TokenSequence::file_of(std::int64_t token) const {
  return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end() - 1, token) -
                                  starts_.begin() - 1);
}

void TokenSequence::copy(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  if (begin < 0 || count < 0 || begin + count > size()) {
    throw InvariantError(
        fmt::format("tokens {} to {} of {} were asked for", begin, begin + count, size()));
  }
  for (auto file = file_of(begin); count > 0; ++file) {
    const auto part = std::min(count, starts_[file + 1] - begin);
    files_[file].copy(begin - starts_[file], part, out);
    begin += part;
    out += part;
    count -= part;
  }
}

void TokenSequence::copy_targets(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  copy(begin, count, out);
  if (!masked()) return;
  for (auto file = file_of(begin); count > 0; ++file) {
    const auto part = std::min(count, starts_[file + 1] - begin);
    if (masks_[file]) masks_[file]->apply(begin - starts_[file], part, out);
    begin += part;
    out += part;
    count -= part;
  }
}

bool TokenSequence::masked() const {
  return std::any_of(masks_.begin(), masks_.end(), [](const auto& m) { return m.has_value(); });
}

std::pair<fs::path, std::int64_t> TokenSequence::place(std::int64_t token) const {
  const auto file = file_of(token);
  return {files_[file].path(), token - starts_[file]};
}

void TokenSequence::check_vocabulary(std::int64_t vocab_size) const {
  for (const auto& file : files_) file.check_vocabulary(vocab_size);
}

}  // namespace blockwise
