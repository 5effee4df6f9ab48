#include "core/io/nameless_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Where the file system knows no nameless files, the name is taken away at once.
int open_in(const std::filesystem::path& folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  auto name = (folder / "state-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

int open_nameless_file(const std::filesystem::path& folder, std::int64_t bytes,
                       std::string_view what) {
  const auto place = folder.empty() ? std::filesystem::path(".") : folder;
  const int file = open_in(place);
  require_input(file >= 0, "{}: {} cannot be kept here: {}", place.string(), what,
                std::strerror(errno));
  const int refused = bytes > 0 ? ::posix_fallocate(file, 0, bytes) : 0;
  if (refused == 0) return file;
  ::close(file);
  throw InputError(fmt::format("{}: no room for {} bytes of {}: {}", place.string(), bytes, what,
                               std::strerror(refused)));
}

std::byte* map_shared(int file, std::int64_t bytes, std::string_view what) {
  if (bytes == 0) return nullptr;
  void* mapped = ::mmap(nullptr, std::size_t(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  require_input(mapped != MAP_FAILED, "{} bytes of {} cannot be mapped: {}", bytes, what,
                std::strerror(errno));
  return static_cast<std::byte*>(mapped);
}

}  // namespace blockwise
