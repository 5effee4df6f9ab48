#include "core/memory/tensors_in_file.hpp"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "core/base/error.hpp"
#include "core/io/nameless_file.hpp"

namespace blockwise {
namespace {

constexpr const char* kWhat = "a large tensor";

std::byte* map_new(const std::filesystem::path& folder, std::int64_t bytes) {
  const int file = open_nameless_file(folder, bytes, kWhat);
  try {
    auto* data = map_shared(file, bytes, kWhat);
    ::close(file);
    return data;
  } catch (const InputError&) {
    ::close(file);
    throw;
  }
}

// Of LibTorch's allocators of the CPU the one with the highest number is taken, the latest of
// equals.
constexpr std::uint8_t kAboveCaching = 2;

}  // namespace

// Outlives the allocator where a tensor does.
struct TensorsInFile::Count {
  std::atomic<std::int64_t> now{0}, peak{0};

  void add(std::int64_t bytes) {
    const auto total = now.fetch_add(bytes) + bytes;
    auto highest = peak.load();
    while (total > highest && !peak.compare_exchange_weak(highest, total)) {
    }
  }
};

struct TensorsInFile::Mapping {
  std::byte* data;
  std::int64_t bytes;
  std::shared_ptr<Count> count;
};

void TensorsInFile::unmap(void* context) {
  const std::unique_ptr<Mapping> mapping(static_cast<Mapping*>(context));
  ::munmap(mapping->data, std::size_t(mapping->bytes));
  mapping->count->add(-mapping->bytes);
}

class TensorsInFile::FileAllocator final : public c10::Allocator {
 public:
  FileAllocator(std::filesystem::path folder, std::int64_t from_bytes)
      : count(std::make_shared<Count>()),
        smaller_(c10::GetCPUAllocator()),
        folder_(std::move(folder)),
        from_bytes_(from_bytes) {}

  c10::DataPtr allocate(std::size_t bytes) override {
    const auto size = static_cast<std::int64_t>(bytes);
    if (closed || size < from_bytes_ || size == 0) return smaller_->allocate(bytes);
    auto* data = map_new(folder_, size);
    count->add(size);
    return {data, new Mapping{data, size, count}, &unmap, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return smaller_->raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  const std::shared_ptr<Count> count;
  std::atomic<bool> closed = false;

 private:
  c10::Allocator* smaller_;
  std::filesystem::path folder_;
  std::int64_t from_bytes_;
};

TensorsInFile::TensorsInFile(std::filesystem::path folder, std::int64_t from_bytes)
    : allocator_(new FileAllocator(std::move(folder), from_bytes)),
      before_(c10::GetCPUAllocator()) {
  c10::SetCPUAllocator(allocator_, kAboveCaching);
}

// The allocator itself stays: every tensor that it made goes back to it when it is resized.
TensorsInFile::~TensorsInFile() {
  c10::SetCPUAllocator(before_, kAboveCaching);
  allocator_->closed = true;
}

std::int64_t TensorsInFile::bytes() const { return allocator_->count->now; }
std::int64_t TensorsInFile::peak_bytes() const { return allocator_->count->peak; }

}  // namespace blockwise
