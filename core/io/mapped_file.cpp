#include "core/io/mapped_file.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "core/io/input_file.hpp"

namespace blockwise {

MappedFile map_file(const std::filesystem::path& path) {
  const InputFile file(path);
  const auto size = file.bytes();
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  require_input(address != MAP_FAILED, "{}: cannot be mapped: {}", path.string(),
                std::strerror(errno));
  std::shared_ptr<const void> mapping(
      address, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return {mapping, {static_cast<const std::byte*>(address), size}};
}

}  // namespace blockwise
