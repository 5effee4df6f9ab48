// PagedFile: what belongs to the parameters, in a file that is mapped into memory, of which no more
// than a bound is resident. What a parameter's update needs is read ahead while the one before it
// is computed, in the order in which the last step used them, and written behind.
//
// Steps use parameters in the same order, so what was used last is needed last: it leaves first,
// but for the one before, whose writing has just begun. A bound of a share r of the file then
// saves about a share r of the reading; leaving the one used longest ago would save none.
//
// The file has no name: it is gone with the process, whatever ends it, and a run goes on from its
// checkpoint as ever. On a file system in memory (tmpfs) the bound is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <string_view>
#include <vector>

namespace blockwise {

struct ByteRange {
  std::int64_t begin = 0, size = 0;  // in the file
};

struct PagingReport {
  std::int64_t bytes_read = 0;     // back into memory
  std::int64_t bytes_written = 0;  // out of it
  double seconds_waited = 0.0;     // for either

  PagingReport operator+(const PagingReport& other) const {
    return {bytes_read + other.bytes_read, bytes_written + other.bytes_written,
            seconds_waited + other.seconds_waited};
  }
};

// Where such a file is and what of it may be in memory; 0: there is none, everything is in memory.
struct Paging {
  std::int64_t resident_bytes = 0;
  std::filesystem::path folder = {};  // empty: the working one
  bool operator==(const Paging&) const = default;
};

// For errors: "the optimizer's state", and the option that bounds it.
struct PagedContent {
  std::string_view what, option;
};

class PagedFile {
 public:
  // uses: what each parameter's update needs. The bound is on what is resident between two updates;
  // it is at least what the largest two need, which InputError says otherwise. Throws InputError
  // where the folder can hold no file of that size or none at all.
  PagedFile(const PagedContent& content, const Paging& paging, std::int64_t bytes,
            std::vector<std::vector<ByteRange>> uses);
  PagedFile(const PagedFile&) = delete;
  PagedFile& operator=(const PagedFile&) = delete;
  ~PagedFile();

  std::byte* data() const { return data_; }
  // Around an update of the parameter.
  void begin_use(std::size_t parameter);
  void end_use(std::size_t parameter);
  // Before a parameter is read outside of an update.
  void look_at(std::size_t parameter);
  // Writes and leaves everything, also what was read or written outside of uses.
  void evict_all();
  const PagingReport& report() const { return report_; }
  // Of the mapping, in memory now (mincore).
  std::int64_t resident_bytes() const;

 private:
  enum class Where { empty, file, memory };
  void require_bound(const PagedContent& content) const;
  void bring(std::size_t parameter);
  void evict(std::size_t parameter);
  void leave(const ByteRange& pages);
  void make_room(std::int64_t bytes);
  std::size_t leaves_next() const;
  void wait_for_pages(std::size_t parameter, int advice);
  std::int64_t size_of(std::size_t parameter) const;

  int file_ = -1;
  std::byte* data_ = nullptr;
  std::int64_t bytes_, bound_, resident_ = 0;
  std::vector<std::vector<ByteRange>> uses_;
  std::vector<Where> where_;           // of each parameter's pages
  std::vector<bool> written_;          // by an update, since they were brought
  std::vector<bool> passes_;           // others had to leave for it, so it will leave, too
  std::deque<std::size_t> in_memory_;  // the one used longest ago first
  std::vector<std::size_t> next_;      // the parameter that was used behind it
  std::size_t last_ = 0;
  bool any_ = false;
  PagingReport report_;
};

}  // namespace blockwise
