#include "tests/faults/shim/fault_shim.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace blockwise::testing {
namespace {

// Shared by all processes that come from the one which set it up.
struct Plan {
  FaultKind kind;
  std::int64_t at;
  pid_t process;
  char under[PATH_MAX];
  std::atomic<std::int64_t> calls;
};
Plan* plan = nullptr;  // the library has no other place that survives from call to call

bool is_under(std::string_view path) {
  const std::string_view under = plan->under;
  return path.substr(0, under.size()) == under;
}

bool is_under(int descriptor) {
  char link[64], path[PATH_MAX];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const auto length = ::readlink(link, path, sizeof(path));
  return length > 0 && is_under(std::string_view(path, static_cast<std::size_t>(length)));
}

// Names relative to a folder, as std::filesystem::remove_all uses them.
bool is_under(int folder, const char* path) {
  return path[0] == '/' || folder == AT_FDCWD ? is_under(path) : is_under(folder);
}

void die() {
  ::kill(plan->process, SIGKILL);
  ::kill(::getpid(), SIGKILL);
  ::pause();
}

// How much of a write is done before the process dies in it; all of it where it lives on.
size_t torn_size(int descriptor, size_t size, off64_t at) {
  constexpr off64_t kPage = 4096;
  const auto to_page_end = static_cast<size_t>(kPage - at % kPage);
  const bool dies = plan != nullptr && plan->kind == FaultKind::torn && to_page_end < size &&
                    is_under(descriptor) && plan->calls.load() >= plan->at;
  return dies ? to_page_end : size;
}

// Counts a call that changes something; the error it shall end in, 0 for none.
int fault(int error, bool needs_space) {
  const auto call = plan->calls.fetch_add(1) + 1;
  switch (plan->kind) {
    case FaultKind::none:
    case FaultKind::torn:  // in the write
      return 0;
    case FaultKind::kill:
      if (call != plan->at) return 0;
      die();
      return error;
    case FaultKind::once:
      return call == plan->at ? error : 0;
    case FaultKind::lasting:
      return call == plan->at || (call > plan->at && needs_space) ? error : 0;
  }
  return 0;
}

template <typename Target>
int fault_at(Target target, int error, bool needs_space = true) {
  return plan != nullptr && is_under(target) ? fault(error, needs_space) : 0;
}
int fault_at(int folder, const char* path, int error, bool needs_space = true) {
  return plan != nullptr && is_under(folder, path) ? fault(error, needs_space) : 0;
}

FaultKind kind_of(std::string_view name) {
  if (name == "kill") return FaultKind::kill;
  if (name == "torn") return FaultKind::torn;
  if (name == "once") return FaultKind::once;
  return name == "lasting" ? FaultKind::lasting : FaultKind::none;
}

[[gnu::constructor]] void read_environment() {
  const char* text = std::getenv("BLOCKWISE_FAULT");  // KIND:N:PATH
  if (text == nullptr) return;
  const std::string_view all = text;
  const auto first = all.find(':'), second = all.find(':', first + 1);
  if (second == std::string_view::npos) return;
  inject_fault(kind_of(all.substr(0, first)), std::atoll(text + first + 1),
               std::string(all.substr(second + 1)));
}

}  // namespace

void inject_fault(FaultKind kind, std::int64_t at, const std::string& under) {
  void* page =
      ::mmap(nullptr, sizeof(Plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) std::abort();
  plan = new (page) Plan{kind, at, ::getpid(), {}, 0};
  std::strncpy(plan->under, under.c_str(), sizeof(plan->under) - 1);
}

std::int64_t counted_calls() { return plan == nullptr ? 0 : plan->calls.load(); }

}  // namespace blockwise::testing

using blockwise::testing::die;
using blockwise::testing::fault;
using blockwise::testing::fault_at;
using blockwise::testing::torn_size;

// The function that would have been called.
#define REAL(name) (reinterpret_cast<decltype(&::name)>(::dlsym(RTLD_NEXT, #name)))
#define FAIL_IF(error_expression)           \
  if (const int error = error_expression) { \
    errno = error;                          \
    return -1;                              \
  }

namespace {

int open_fault(int folder, const char* path, int flags) {
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  return changes ? fault_at(folder, path, ENOSPC) : 0;
}

mode_t mode_of(int flags, va_list rest) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

bool is_for_writing(int descriptor) {
  return (::fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

bool is_shared_and_writable(int protection, int flags) {
  return (flags & MAP_SHARED) != 0 && (flags & MAP_ANONYMOUS) == 0 &&
         (protection & PROT_WRITE) != 0;
}

}  // namespace

extern "C" {

#define DEFINE_OPEN(name)                      \
  int name(const char* path, int flags, ...) { \
    va_list rest;                              \
    va_start(rest, flags);                     \
    const auto mode = mode_of(flags, rest);    \
    va_end(rest);                              \
    FAIL_IF(open_fault(AT_FDCWD, path, flags)) \
    return REAL(name)(path, flags, mode);      \
  }
#define DEFINE_OPENAT(name)                                \
  int name(int folder, const char* path, int flags, ...) { \
    va_list rest;                                          \
    va_start(rest, flags);                                 \
    const auto mode = mode_of(flags, rest);                \
    va_end(rest);                                          \
    FAIL_IF(open_fault(folder, path, flags))               \
    return REAL(name)(folder, path, flags, mode);          \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

#define DEFINE_FOPEN(name)                                                   \
  FILE* name(const char* path, const char* mode) {                           \
    const int error = mode[0] == 'r' ? 0 : fault_at(AT_FDCWD, path, ENOSPC); \
    if (error == 0) return REAL(name)(path, mode);                           \
    errno = error;                                                           \
    return nullptr;                                                          \
  }
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

ssize_t write(int file, const void* data, size_t size) {
  FAIL_IF(fault_at(file, ENOSPC))
  const auto whole = torn_size(file, size, ::lseek64(file, 0, SEEK_CUR));
  const auto written = REAL(write)(file, data, whole);
  if (whole < size) die();
  return written;
}
ssize_t writev(int file, const iovec* parts, int count) {
  FAIL_IF(fault_at(file, ENOSPC))
  return REAL(writev)(file, parts, count);
}
ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  FAIL_IF(fault_at(file, ENOSPC))
  const auto whole = torn_size(file, size, at);
  const auto written = REAL(pwrite)(file, data, whole, at);
  if (whole < size) die();
  return written;
}
ssize_t pwrite64(int file, const void* data, size_t size, off64_t at) {
  FAIL_IF(fault_at(file, ENOSPC))
  const auto whole = torn_size(file, size, at);
  const auto written = REAL(pwrite64)(file, data, whole, at);
  if (whole < size) die();
  return written;
}
int ftruncate(int file, off_t size) noexcept {
  FAIL_IF(fault_at(file, ENOSPC))
  return REAL(ftruncate)(file, size);
}
int ftruncate64(int file, off64_t size) noexcept {
  FAIL_IF(fault_at(file, ENOSPC))
  return REAL(ftruncate64)(file, size);
}
int posix_fallocate(int file, off_t from, off_t size) {
  const int error = fault_at(file, ENOSPC);
  return error != 0 ? error : REAL(posix_fallocate)(file, from, size);
}
int posix_fallocate64(int file, off64_t from, off64_t size) {
  const int error = fault_at(file, ENOSPC);
  return error != 0 ? error : REAL(posix_fallocate64)(file, from, size);
}
int fsync(int file) {
  FAIL_IF(fault_at(file, EIO))
  return REAL(fsync)(file);
}
int fdatasync(int file) {
  FAIL_IF(fault_at(file, EIO))
  return REAL(fdatasync)(file);
}
// The descriptor is gone also where closing fails.
int close(int file) {
  const int planned = is_for_writing(file) ? fault_at(file, EIO, false) : 0;
  const int result = REAL(close)(file);
  FAIL_IF(planned)
  return result;
}
int mkdir(const char* path, mode_t mode) noexcept {
  FAIL_IF(fault_at(AT_FDCWD, path, ENOSPC))
  return REAL(mkdir)(path, mode);
}
int rename(const char* from, const char* to) noexcept {
  FAIL_IF(fault_at(AT_FDCWD, to, ENOSPC))
  return REAL(rename)(from, to);
}
int unlink(const char* path) noexcept {
  FAIL_IF(fault_at(AT_FDCWD, path, EIO, false))
  return REAL(unlink)(path);
}
int remove(const char* path) noexcept {
  FAIL_IF(fault_at(AT_FDCWD, path, EIO, false))
  return REAL(remove)(path);
}
int rmdir(const char* path) noexcept {
  FAIL_IF(fault_at(AT_FDCWD, path, EIO, false))
  return REAL(rmdir)(path);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  FAIL_IF(fault_at(folder, path, EIO, false))
  return REAL(unlinkat)(folder, path, flags);
}
void* mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) noexcept {
  const int error = is_shared_and_writable(protection, flags) ? fault_at(file, ENOMEM) : 0;
  if (error == 0) return REAL(mmap)(at, size, protection, flags, file, offset);
  errno = error;
  return MAP_FAILED;
}
int msync(void* at, size_t size, int flags) {
  FAIL_IF(blockwise::testing::plan != nullptr ? fault(EIO, true) : 0)
  return REAL(msync)(at, size, flags);
}

}  // extern "C"
