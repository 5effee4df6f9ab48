// Large tensors in files, for vectors that find no room in memory beside a model.
#pragma once

#include <cstdint>
#include <filesystem>

namespace c10 {
struct Allocator;
}

namespace blockwise {

// While alive, every tensor of at least `from_bytes` that LibTorch makes on the CPU, on whatever
// thread, is a file without a name in the folder (empty: the working one), mapped into memory: the
// system writes its pages out and reads them back as it needs memory. Values are the same. Such a
// tensor may outlive this object; its file goes with it, and with the process, whatever ends that.
// MemoryMeter does not count it.
//
// Where the disk is full, making the tensor throws InputError with the folder. LibTorch has one
// allocator for the CPU: make and unmake these objects while no other thread makes tensors, the
// last one first.
class TensorsInFile {
 public:
  TensorsInFile(std::filesystem::path folder, std::int64_t from_bytes);
  ~TensorsInFile();
  TensorsInFile(const TensorsInFile&) = delete;
  TensorsInFile& operator=(const TensorsInFile&) = delete;

  std::int64_t bytes() const;       // of such tensors, now
  std::int64_t peak_bytes() const;  // highest so far

 private:
  struct Count;
  struct Mapping;
  class FileAllocator;
  static void unmap(void* context);
  FileAllocator* allocator_;
  c10::Allocator* before_;
};

}  // namespace blockwise
