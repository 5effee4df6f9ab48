#include "core/io/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "core/error.hpp"

namespace blockwise {

MappedFile map_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require_input(file >= 0, "{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = nullptr;
  if (regular && size > 0) address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  require_input(regular, "{}: not a regular file", path.string());
  require_input(address != MAP_FAILED, "{}: cannot be mapped: {}", path.string(),
                std::strerror(errno));
  if (address == nullptr) return {};
  std::shared_ptr<const void> mapping(
      address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return {mapping, {static_cast<const std::byte*>(address), size}};
}

}  // namespace blockwise
