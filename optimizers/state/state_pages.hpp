// StatePages: the optimizer's state in a file that is mapped into memory, of which no more than a
// bound is resident. What a parameter's update needs is read ahead while the one before it is
// computed, in the order in which the last step used them, and written behind.
//
// The file has no name: it is gone with the process, whatever ends it, and a run goes on from its
// checkpoint as ever. On a file system in memory (tmpfs) the bound is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <vector>

namespace blockwise {

struct ByteRange {
  std::int64_t begin = 0, size = 0;  // in the file
};

struct PagingReport {
  std::int64_t bytes_read = 0;     // back into memory
  std::int64_t bytes_written = 0;  // out of it
  double seconds_waited = 0.0;     // for either
};

class StatePages {
 public:
  // uses: what each parameter's update needs. resident_bytes: what is resident between two updates,
  // at most; at least what the largest two need, which InputError says otherwise. Throws InputError
  // where the folder can hold no file of that size or none at all.
  StatePages(const std::filesystem::path& folder, std::int64_t bytes,
             std::vector<std::vector<ByteRange>> uses, std::int64_t resident_bytes);
  StatePages(const StatePages&) = delete;
  StatePages& operator=(const StatePages&) = delete;
  ~StatePages();

  std::byte* data() const { return data_; }
  // Around an update of the parameter.
  void begin_use(std::size_t parameter);
  void end_use(std::size_t parameter);
  // Writes and leaves everything, also what was read or written outside of uses.
  void evict_all();
  const PagingReport& report() const { return report_; }
  // Of the mapping, in memory now (mincore).
  std::int64_t resident_bytes() const;

 private:
  enum class Where { empty, file, memory };
  void bring(std::size_t parameter);
  void evict(std::size_t parameter);
  void leave(const ByteRange& pages);
  void make_room(std::int64_t bytes);
  void wait_for_pages(std::size_t parameter);
  std::int64_t size_of(std::size_t parameter) const;

  int file_ = -1;
  std::byte* data_ = nullptr;
  std::int64_t bytes_, bound_, resident_ = 0;
  std::vector<std::vector<ByteRange>> uses_;
  std::vector<Where> where_;           // of each parameter's state
  std::deque<std::size_t> in_memory_;  // the one used longest ago first
  std::vector<std::size_t> next_;      // the parameter that was used behind it
  std::size_t last_ = 0;
  bool any_ = false;
  PagingReport report_;
};

}  // namespace blockwise
