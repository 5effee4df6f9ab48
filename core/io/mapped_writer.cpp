#include "core/io/mapped_writer.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace blockwise {

MappedWriter::MappedWriter(std::filesystem::path path, std::size_t size) : file_(std::move(path)) {
  const int error = ::posix_fallocate(file_.descriptor(), 0, static_cast<off_t>(size));
  if (error != 0) file_.fail(error);
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.descriptor(), 0);
  if (address == MAP_FAILED) file_.fail(errno);
  bytes_ = {static_cast<std::byte*>(address), size};
}

MappedWriter::~MappedWriter() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

void MappedWriter::commit() {
  if (::msync(bytes_.data(), bytes_.size(), MS_SYNC) != 0) file_.fail(errno);
  const auto mapped = std::exchange(bytes_, {});
  ::munmap(mapped.data(), mapped.size());
  file_.publish();
}

}  // namespace blockwise
