#include "experiments/records/data_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace blockwise {
namespace {

// "1200 bytes, SHA-256 of its samples 0123456789ab"
std::string content_text(const DataFile& file, bool whole) {
  const auto& hash = whole ? file.manifest_sha256 : file.sampled_sha256;
  return fmt::format("{} bytes, SHA-256 {}{}", file.bytes,
                     whole ? "by its manifest " : "of its samples ", hash.substr(0, 12));
}

}  // namespace

std::string content_difference(const std::vector<DataFile>& before,
                               const std::vector<DataFile>& now) {
  for (std::size_t i = 0; i < std::min(before.size(), now.size()); ++i) {
    const auto &a = before[i], &b = now[i];
    const bool whole = !a.manifest_sha256.empty() && !b.manifest_sha256.empty() &&
                       a.manifest_sha256 != b.manifest_sha256;
    if (!whole && a.bytes == b.bytes && a.sampled_sha256 == b.sampled_sha256) continue;
    return fmt::format("{} had {}; {} has {}", a.file, content_text(a, whole), b.file,
                       content_text(b, whole));
  }
  if (before.size() == now.size()) return "";
  return fmt::format("it led to {} files and leads to {}", before.size(), now.size());
}

std::vector<DataFile> files_of(const std::vector<DataFile>& files, const std::string& key) {
  std::vector<DataFile> own;
  std::ranges::copy_if(files, std::back_inserter(own),
                       [&](const DataFile& file) { return file.key == key; });
  return own;
}

}  // namespace blockwise
