// Memory between two pages that nobody may touch: one element too far ends the process, in every
// build.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace blockwise::testing {

template <typename T>
class GuardedBuffer {
 public:
  enum class Against { end, begin };  // which page the elements touch

  GuardedBuffer(const std::vector<T>& values, Against against) : count_(values.size()) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto inner = (count_ * sizeof(T) + page) / page * page;
    bytes_ = inner + 2 * page;
    memory_ = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<std::byte*>(memory_) + page;
    ::mprotect(begin, inner, PROT_READ | PROT_WRITE);
    if (against == Against::end) begin += inner - count_ * sizeof(T);
    data_ = reinterpret_cast<T*>(begin);
    if (count_ > 0) std::memcpy(data_, values.data(), count_ * sizeof(T));
  }
  ~GuardedBuffer() { ::munmap(memory_, bytes_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

 private:
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  void* memory_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace blockwise::testing
