#include "core/io/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return "something else";
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  require_input(descriptor_ >= 0, "{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    bytes_ = static_cast<std::size_t>(status.st_size);
    return;
  }
  ::close(descriptor_);
  throw InputError(
      fmt::format("{}: is {}, not a regular file", path.string(), kind_of(status.st_mode)));
}

InputFile::~InputFile() { ::close(descriptor_); }

bool input_exists(const std::filesystem::path& path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  const bool known = kind != std::filesystem::file_type::none;
  require_input(known, "{}: {}", path.string(), error.message());
  return kind != std::filesystem::file_type::not_found;
}

std::string read_text_file(const std::filesystem::path& path, std::size_t limit) {
  const InputFile file(path);
  require_input(file.bytes() <= limit, "{}: {} bytes, at most {} are accepted", path.string(),
                file.bytes(), limit);
  std::string text(file.bytes(), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const auto count = ::read(file.descriptor(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    require_input(count > 0, "{}: cannot be read: {}", path.string(),
                  count < 0 ? std::strerror(errno) : "it became shorter meanwhile");
    done += static_cast<std::size_t>(count);
  }
  return text;
}

}  // namespace blockwise
