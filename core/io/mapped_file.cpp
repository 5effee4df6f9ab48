#include "core/io/mapped_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/base/error.hpp"
#include "core/io/input_file.hpp"
#include "core/io/truncated_input.hpp"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21  // of Linux 5.4, where the C library's headers are older
#endif

namespace blockwise {
namespace {

class Mapping {
 public:
  Mapping(const std::filesystem::path& path, const InputFile& file) : bytes_(map(path, file)) {
    range_.emplace(path, bytes_);
  }
  ~Mapping() {
    range_.reset();  // before the addresses can be another file's
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  static std::span<const std::byte> map(const std::filesystem::path& path, const InputFile& file) {
    void* address = ::mmap(nullptr, file.bytes(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
    require_input(address != MAP_FAILED, "{}: cannot be mapped: {}", path.string(),
                  std::strerror(errno));
    return {static_cast<const std::byte*>(address), file.bytes()};
  }

  std::span<const std::byte> bytes_;
  std::optional<InputRange> range_;
};

// Of the whole pages among the bytes.
void advise(std::span<const std::byte> bytes, int advice) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const auto begin = (first + page - 1) / page * page;
  const auto end = (first + bytes.size()) / page * page;
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

MappedFile map_file(const std::filesystem::path& path, std::size_t limit) {
  const InputFile file(path);
  require_input(file.bytes() <= limit, "{}: {} bytes, at most {} are accepted", path.string(),
                file.bytes(), limit);
  if (file.bytes() == 0) return {};
  const auto mapping = std::make_shared<const Mapping>(path, file);
  return {mapping, mapping->bytes()};
}

void leave_pages(std::span<const std::byte> mapped) { advise(mapped, MADV_DONTNEED); }

void page_out(std::span<const std::byte> memory) { advise(memory, MADV_PAGEOUT); }

}  // namespace blockwise
