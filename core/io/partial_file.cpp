#include "core/io/partial_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  throw std::runtime_error(
      fmt::format("{}: cannot be written: {}", path.string(), std::strerror(error)));
}

}  // namespace

fs::path partial_path(const fs::path& path) {
  auto partial = path;
  partial += ".partial";
  return partial;
}

void remove_partial(const fs::path& path) {
  const bool removed = ::unlink(partial_path(path).c_str()) == 0;
  // ENOTDIR: there is no such folder either; creating the file says so.
  if (!removed && errno != ENOENT && errno != ENOTDIR) fail_to_write(partial_path(path), errno);
}

void rename_partial(const fs::path& path) {
  if (std::rename(partial_path(path).c_str(), path.c_str()) != 0) fail_to_write(path, errno);
}

PartialFile::PartialFile(fs::path path) : path_(std::move(path)) {
  remove_partial(path_);
  // O_EXCL: also not through a link that was put there a moment ago.
  descriptor_ =
      ::open(partial_path(path_).c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(errno);
}

PartialFile::~PartialFile() {
  if (descriptor_ < 0) return;
  if (in_place()) ::unlink(partial_path(path_).c_str());
  ::close(descriptor_);
}

// False where another process has put its own file there, or removed ours.
bool PartialFile::in_place() const {
  struct stat ours {
  }, named{};
  return ::fstat(descriptor_, &ours) == 0 && ::lstat(partial_path(path_).c_str(), &named) == 0 &&
         ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

void PartialFile::fail(int error) const { fail_to_write(path_, error); }

void PartialFile::write(std::span<const std::byte> bytes) {
  write_at(end_, bytes);
  end_ += static_cast<off_t>(bytes.size());
}

void PartialFile::write_at(off_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void PartialFile::publish() {
  if (::fsync(descriptor_) != 0) fail(errno);
  if (!in_place()) {
    throw std::runtime_error(
        fmt::format("{}: cannot be written: another process writes it, or deleted what was written",
                    path_.string()));
  }
  rename_partial(path_);
  // A file system over a network may say only on closing that there was no room.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
}

}  // namespace blockwise
