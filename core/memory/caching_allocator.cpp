#include "core/memory/caching_allocator.hpp"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/memory/large_block_cache.hpp"

extern char** environ;

namespace blockwise {
namespace {

// Below this the C library's heap keeps freed memory by itself.
constexpr std::size_t kLarge = std::size_t{4} << 20;

// Never destroyed: LibTorch's own statics may free tensors after main() has ended.
LargeBlockCache& cache() {
  static auto* const shared = new LargeBlockCache();
  return *shared;
}

// Blocks of the cache are aligned; most others are not, and need no look-up.
bool may_be_cached(void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % LargeBlockCache::kAlignment == 0;
}

void report_and_release(void* pointer) {
  if (pointer == nullptr) return;
  c10::profiledCPUMemoryReporter().Delete(pointer);
  if (may_be_cached(pointer) && cache().release(pointer)) return;
  c10::free_cpu(pointer);
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* data = bytes >= kLarge ? cache().allocate(bytes) : nullptr;
    // Where the system has no more, LibTorch's own function throws its own error.
    if (data == nullptr) data = c10::alloc_cpu(bytes);
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &report_and_release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &report_and_release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

bool user_has_chosen() {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (text.starts_with("LD_PRELOAD=") || text.starts_with("MALLOC_")) return true;
    if (text == "BLOCKWISE_ALLOCATOR=system") return true;
    if (text.starts_with("GLIBC_TUNABLES=") && text.find("glibc.malloc.") != text.npos) return true;
  }
  return false;
}

}  // namespace

void install_caching_allocator() {
  static const bool installed = [] {
    if (user_has_chosen()) return false;
    constexpr std::uint8_t kAboveDefault = 1;
    c10::SetCPUAllocator(new CachingAllocator(), kAboveDefault);
    return true;
  }();
  static_cast<void>(installed);
}

}  // namespace blockwise
