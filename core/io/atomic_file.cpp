#include "core/io/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "core/base/error.hpp"
#include "core/io/partial_file.hpp"

namespace blockwise {

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  PartialFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.publish();
}

void sync_path(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = file >= 0 && ::fsync(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (synced) return;
  throw std::runtime_error(
      fmt::format("{}: cannot be synced: {}", path.string(), std::strerror(error)));
}

}  // namespace blockwise
