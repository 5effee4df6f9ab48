// A file in pieces that appears whole or not at all: written as NAME.partial, synced, renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace blockwise {

class AtomicWriter {
 public:
  // Everything throws std::runtime_error with the file's name and the system's reason.
  explicit AtomicWriter(std::filesystem::path path);
  // Without a commit() before, what stood under the name stays and the part is deleted.
  ~AtomicWriter();
  AtomicWriter(const AtomicWriter&) = delete;
  AtomicWriter& operator=(const AtomicWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  std::filesystem::path partial_;
  int file_ = -1;
  bool committed_ = false;
};

}  // namespace blockwise
