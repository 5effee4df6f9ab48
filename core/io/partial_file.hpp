// NAME.partial: where a file is written before it takes its name. Everybody can foresee that name,
// so what stands under it is never opened: an earlier process's rest or a link that somebody put
// there is removed (the link, not what it leads to), and the file is a new one.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>

namespace blockwise {

// NAME.partial
std::filesystem::path partial_path(const std::filesystem::path& path);

// Removes what stands under NAME.partial, for a writer that opens it by itself (as a new file).
// Throws std::runtime_error with the file and the system's reason where something cannot be
// removed.
void remove_partial(const std::filesystem::path& path);

// Gives a finished NAME.partial its name. Throws as above.
void rename_partial(const std::filesystem::path& path);

class PartialFile {
 public:
  // Everything throws std::runtime_error "NAME: cannot be written: REASON".
  explicit PartialFile(std::filesystem::path path);
  // Without a publish() before, what stood under the name stays and the part is deleted.
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::filesystem::path& path() const { return path_; }  // the name it is to have
  int descriptor() const { return descriptor_; }               // for reading and writing
  // At the end of what was written so far; all of it, or an error.
  void write(std::span<const std::byte> bytes);
  void write_at(off_t offset, std::span<const std::byte> bytes);
  // Synced, renamed and closed; each of them counts.
  void publish();
  [[noreturn]] void fail(int error) const;

 private:
  bool in_place() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  off_t end_ = 0;
};

}  // namespace blockwise
