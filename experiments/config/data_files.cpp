#include "experiments/config/data_files.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/error.hpp"
#include "core/base/field_finder.hpp"
#include "core/data/token_sequence.hpp"
#include "core/io/input_file.hpp"
#include "core/io/json_file.hpp"
#include "core/io/json_view.hpp"
#include "core/io/sha256.hpp"
#include "experiments/config/config_keys.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieces = 64;
constexpr std::size_t kPieceBytes = std::size_t{16} << 10;

// Appends `count` bytes from `begin` on.
void read_piece(const InputFile& file, const fs::path& path, std::size_t begin, std::size_t count,
                std::string& out) {
  const auto before = out.size();
  out.resize(before + count);
  for (std::size_t done = 0; done < count;) {
    const auto got = ::pread(file.descriptor(), out.data() + before + done, count - done,
                             static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    require_input(got > 0, "{}: {}", path.string(),
                  got < 0 ? std::strerror(errno) : "became shorter while it was read");
    done += static_cast<std::size_t>(got);
  }
}

std::string sampled_hash(const InputFile& file, const fs::path& path) {
  std::string samples;
  if (file.bytes() <= kPieces * kPieceBytes) {
    read_piece(file, path, 0, file.bytes(), samples);
  } else {
    const auto last = file.bytes() - kPieceBytes;
    for (std::size_t i = 0; i < kPieces; ++i) {
      read_piece(file, path, last / (kPieces - 1) * i + last % (kPieces - 1) * i / (kPieces - 1),
                 kPieceBytes, samples);
    }
  }
  return sha256(samples);
}

// Of the manifest beside the file. One that is of something else, or damaged, says nothing: whoever
// needs it has said so before.
std::string manifest_hash(const fs::path& path) {
  const auto manifest = path.parent_path() / "manifest.json";
  try {
    if (!input_exists(manifest)) return "";
    const auto document = read_json_file(manifest);
    for (const auto& [split, entry] : JsonView(document, manifest).at("files").entries()) {
      for (const auto& shard : entry.at("shards").items()) {
        const bool this_one = shard.at("file").text() == path.filename() && shard.has("sha256");
        if (this_one) return shard.at("sha256").text();
      }
    }
  } catch (const InputError&) {
  }
  return "";
}

DataFile data_file(const std::string& key, const fs::path& path) {
  const InputFile file(path);
  return {key, path.string(), static_cast<std::int64_t>(file.bytes()), sampled_hash(file, path),
          manifest_hash(path)};
}

// The places of data that a field list names; sections have their name before their fields'.
class Places : public FieldFinder {
 public:
  std::vector<std::pair<std::string, std::string>> found;  // key, place

  void text(const Field& field, std::string& value) override {
    const auto key = fmt::format("data.{}", field.name);
    if (key_kind(key) == KeyKind::content && !value.empty()) found.emplace_back(key, value);
  }
  void text_map(const Field& field, TextMap& values) override {
    const auto key = fmt::format("data.{}", field.name);
    if (key_kind(key) != KeyKind::content) return;
    for (const auto& [name, place] : values) {
      found.emplace_back(fmt::format("{}.{}", key, name), place);
    }
  }
};

}  // namespace

std::vector<DataFile> data_files(const RunConfig& config) {
  Places places;
  const auto spec = config.data.spec->clone();
  spec->visit(places);
  std::vector<DataFile> files;
  for (const auto& [key, place] : places.found) {
    for (const auto& path : find_token_files(place)) {
      files.push_back(data_file(key, path));
      auto mask = path;
      mask.replace_extension(kMaskExtension);
      if (mask != path && input_exists(mask)) files.push_back(data_file(key, mask));
    }
  }
  return files;
}

}  // namespace blockwise
