#include "core/io/atomic_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"

namespace blockwise {

AtomicWriter::AtomicWriter(std::filesystem::path path) : path_(std::move(path)), partial_(path_) {
  partial_ += ".partial";
  file_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail();
}

AtomicWriter::~AtomicWriter() {
  ::close(file_);
  if (!committed_) ::unlink(partial_.c_str());
}

void AtomicWriter::fail() const {
  throw std::runtime_error(
      fmt::format("{}: cannot be written: {}", path_.string(), std::strerror(errno)));
}

void AtomicWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail();
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicWriter::commit() {
  if (::fsync(file_) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0) fail();
  committed_ = true;
}

}  // namespace blockwise
