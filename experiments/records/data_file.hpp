// A file that a run reads its data from, and by what its content is known again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

struct DataFile {
  std::string key;   // of the configuration: "data.train", "data.validations.NAME"
  std::string file;  // as the configuration leads to it
  std::int64_t bytes = 0;
  // SHA-256 of the file's samples: all of it up to 1 MiB, else 64 pieces of 16 KiB that lie evenly
  // over it, the first and the last bytes among them.
  std::string sampled_sha256;
  std::string manifest_sha256;  // of the whole file, as manifest.json says; empty where it does not
};

// "" where both lists have the same content in the same order, whatever the files are called;
// otherwise what is different, with both values. `key` is that of both lists.
std::string content_difference(const std::vector<DataFile>& before,
                               const std::vector<DataFile>& now);

// The files of one key.
std::vector<DataFile> files_of(const std::vector<DataFile>& files, const std::string& key);

}  // namespace blockwise
