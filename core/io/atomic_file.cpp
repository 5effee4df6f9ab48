#include "core/io/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "core/error.hpp"

namespace blockwise {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view what) {
  throw std::runtime_error(fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  auto beside = path;
  beside += ".partial";
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail(path, "cannot be written");
  std::size_t done = 0;
  while (done < text.size()) {
    const auto written = ::write(file, text.data() + done, text.size() - done);
    if (written < 0) {
      const int reason = errno;
      ::close(file);
      ::unlink(beside.c_str());
      errno = reason;
      fail(path, "cannot be written");
    }
    done += static_cast<std::size_t>(written);
  }
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  if (!synced || std::rename(beside.c_str(), path.c_str()) != 0) fail(path, "cannot be written");
}

void sync_path(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 || ::fsync(file) != 0) fail(path, "cannot be synced");
  ::close(file);
}

}  // namespace blockwise
