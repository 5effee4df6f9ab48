// A file of known size that is filled through memory and appears whole or not at all: NAME.partial
// is allocated and mapped, then synced and renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "core/io/partial_file.hpp"

namespace blockwise {

class MappedWriter {
 public:
  // Every byte has its place on the disk before the first one is written, so that a full disk is an
  // error here and not a SIGBUS later. size > 0. Everything throws std::runtime_error with the
  // file's name and the system's reason.
  MappedWriter(std::filesystem::path path, std::size_t size);
  // Without a commit() before, what stood under the name stays and the part is deleted.
  ~MappedWriter();
  MappedWriter(const MappedWriter&) = delete;
  MappedWriter& operator=(const MappedWriter&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }  // zeros at first
  // Once; bytes() is empty from then on.
  void commit();

 private:
  PartialFile file_;
  std::span<std::byte> bytes_;
};

}  // namespace blockwise
