#include "core/io/mapped_writer.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"

namespace blockwise {

MappedWriter::MappedWriter(std::filesystem::path path, std::size_t size)
    : path_(std::move(path)), partial_(path_) {
  partial_ += ".partial";
  file_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail(errno);
  try {
    allocate(size);
  } catch (...) {
    release();
    throw;
  }
}

MappedWriter::~MappedWriter() { release(); }

void MappedWriter::allocate(std::size_t size) {
  const int error = ::posix_fallocate(file_, 0, static_cast<off_t>(size));
  if (error != 0) fail(error);
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (address == MAP_FAILED) fail(errno);
  bytes_ = {static_cast<std::byte*>(address), size};
}

void MappedWriter::release() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  bytes_ = {};
  ::close(file_);
  if (!committed_) ::unlink(partial_.c_str());
}

void MappedWriter::fail(int error) const {
  throw std::runtime_error(
      fmt::format("{}: cannot be written: {}", path_.string(), std::strerror(error)));
}

void MappedWriter::commit() {
  if (::msync(bytes_.data(), bytes_.size(), MS_SYNC) != 0) fail(errno);
  if (::fsync(file_) != 0 || std::rename(partial_.c_str(), path_.c_str()) != 0) fail(errno);
  committed_ = true;
}

}  // namespace blockwise
