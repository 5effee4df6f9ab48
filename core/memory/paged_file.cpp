#include "core/memory/paged_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <numeric>

#include "core/base/error.hpp"
#include "core/io/nameless_file.hpp"

#ifndef MADV_POPULATE_WRITE  // of Linux 5.14, where the C library's headers are older
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace blockwise {
namespace {

std::int64_t page_size() {
  static const std::int64_t size = ::sysconf(_SC_PAGESIZE);
  return size;
}

// The pages that hold the range; what else is on them is read again where it is needed.
ByteRange whole_pages(const ByteRange& range, std::int64_t end_of_file) {
  const auto page = page_size();
  const auto begin = range.begin / page * page;
  const auto end = std::min(end_of_file, (range.begin + range.size + page - 1) / page * page);
  return {begin, end - begin};
}

}  // namespace

PagedFile::PagedFile(const PagedContent& content, const Paging& paging, std::int64_t bytes,
                     std::vector<std::vector<ByteRange>> uses)
    : bytes_(bytes), bound_(paging.resident_bytes), uses_(std::move(uses)) {
  where_.assign(uses_.size(), Where::empty);
  written_.assign(uses_.size(), false);
  passes_.assign(uses_.size(), false);
  next_.resize(uses_.size());
  std::iota(next_.begin(), next_.end(), std::size_t{1});
  require_bound(content);
  file_ = open_nameless_file(paging.folder, bytes_, content.what);
  try {
    data_ = map_shared(file_, bytes_, content.what);
  } catch (const InputError&) {
    ::close(file_);
    throw;
  }
}

void PagedFile::require_bound(const PagedContent& content) const {
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < uses_.size(); ++i) sizes.push_back(size_of(i));
  std::ranges::sort(sizes, std::greater());
  sizes.resize(std::max<std::size_t>(2, sizes.size()), 0);
  require_input(sizes[0] + sizes[1] <= bound_,
                "{}: {} MB, {} of the two largest tensors has {:.1f}", content.option, bound_ >> 20,
                content.what, double(sizes[0] + sizes[1]) / double(1 << 20));
}

PagedFile::~PagedFile() {
  if (data_ != nullptr) ::munmap(data_, std::size_t(bytes_));
  if (file_ >= 0) ::close(file_);
}

std::int64_t PagedFile::size_of(std::size_t parameter) const {
  std::int64_t size = 0;
  for (const auto& range : uses_[parameter]) size += whole_pages(range, bytes_).size;
  return size;
}

// Asks for the pages; the system reads while we go on.
void PagedFile::bring(std::size_t parameter) {
  if (where_[parameter] == Where::memory) return;
  const auto size = size_of(parameter);
  passes_[parameter] = resident_ + size > bound_;
  make_room(size);
  if (where_[parameter] == Where::file) {
    for (const auto& range : uses_[parameter]) {
      const auto pages = whole_pages(range, bytes_);
      if (pages.size > 0) ::madvise(data_ + pages.begin, std::size_t(pages.size), MADV_WILLNEED);
    }
    report_.bytes_read += size;
  }
  where_[parameter] = Where::memory;
  resident_ += size;
  in_memory_.push_back(parameter);
}

// Until what was asked for is there: page faults in the middle of a kernel would wait one by one.
// Systems without the advice (Linux before 5.14) do so.
void PagedFile::wait_for_pages(std::size_t parameter, int advice) {
  const auto start = std::chrono::steady_clock::now();
  for (const auto& range : uses_[parameter]) {
    const auto [begin, size] = whole_pages(range, bytes_);
    if (size > 0) ::madvise(data_ + begin, std::size_t(size), advice);
  }
  report_.seconds_waited +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void PagedFile::make_room(std::int64_t bytes) {
  while (resident_ + bytes > bound_ && !in_memory_.empty()) evict(leaves_next());
}

// The one used before the last but one; of fewer, the one before. Neither the one in use nor the
// one that is used next, unless nothing else is there.
std::size_t PagedFile::leaves_next() const {
  std::vector<std::size_t> candidates;  // the one used last first
  for (auto i = in_memory_.rbegin(); i != in_memory_.rend() && candidates.size() < 2; ++i) {
    if (*i != last_ && *i != next_[last_]) candidates.push_back(*i);
  }
  return candidates.empty() ? in_memory_.front() : candidates.back();
}

// Waits for the writing that end_use() began, so that the pages can be left.
void PagedFile::leave(const ByteRange& pages) {
  ::sync_file_range(
      file_, pages.begin, pages.size,
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  ::madvise(data_ + pages.begin, std::size_t(pages.size), MADV_DONTNEED);
  ::posix_fadvise(file_, pages.begin, pages.size, POSIX_FADV_DONTNEED);
}

void PagedFile::evict(std::size_t parameter) {
  const auto start = std::chrono::steady_clock::now();
  for (const auto& range : uses_[parameter]) {
    const auto pages = whole_pages(range, bytes_);
    if (pages.size > 0) leave(pages);
  }
  report_.seconds_waited +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto size = size_of(parameter);
  if (written_[parameter]) report_.bytes_written += size;
  written_[parameter] = false;
  where_[parameter] = Where::file;
  resident_ -= size;
  std::erase(in_memory_, parameter);
}

void PagedFile::begin_use(std::size_t parameter) {
  if (any_) next_[last_] = parameter;
  any_ = true;
  last_ = parameter;
  // Used last: what is brought next must not push it out.
  std::erase(in_memory_, parameter);
  if (where_[parameter] == Where::memory) in_memory_.push_back(parameter);
  bring(parameter);
  const auto ahead = next_[parameter];
  if (ahead < uses_.size() && ahead != parameter) bring(ahead);
  written_[parameter] = true;
  wait_for_pages(parameter, MADV_POPULATE_WRITE);
}

void PagedFile::look_at(std::size_t parameter) {
  bring(parameter);
  wait_for_pages(parameter, MADV_POPULATE_READ);
}

void PagedFile::end_use(std::size_t parameter) {
  if (!passes_[parameter]) return;
  for (const auto& range : uses_[parameter]) {
    const auto [begin, size] = whole_pages(range, bytes_);
    if (size > 0) ::sync_file_range(file_, begin, size, SYNC_FILE_RANGE_WRITE);
  }
}

void PagedFile::evict_all() {
  while (!in_memory_.empty()) evict(in_memory_.front());
  if (bytes_ > 0) leave({0, bytes_});
  std::ranges::fill(where_, Where::file);
}

std::int64_t PagedFile::resident_bytes() const {
  if (bytes_ == 0) return 0;
  const auto pages = (bytes_ + page_size() - 1) / page_size();
  std::vector<unsigned char> present(static_cast<std::size_t>(pages));
  ::mincore(data_, std::size_t(bytes_), present.data());
  std::int64_t count = 0;
  for (const auto page : present) count += page & 1;
  return count * page_size();
}

}  // namespace blockwise
