// A library that stands before libc and makes the n-th call that changes a file fail, or kills the
// process there. Linked into a test program, or preloaded into any other:
//
//   LD_PRELOAD=libblockwise_fault_shim.so BLOCKWISE_FAULT=kill:17:/data/run program ...
//
// Calls count where they change what is under the given path: open with O_CREAT or O_TRUNC, write,
// pwrite, writev, ftruncate, posix_fallocate, fsync, close of a file that is open for writing,
// mkdir, rename, unlink, rmdir, a shared writable mmap, and every msync.
#pragma once

#include <cstdint>
#include <string>

namespace blockwise::testing {

enum class FaultKind {
  none,    // only count
  kill,    // SIGKILL before the call
  torn,    // SIGKILL within the first write, from this call on, that crosses a page of the kernel's
           // cache: what lies before the page's end is written, as a real SIGKILL may leave it
  once,    // this call fails (no space left; an I/O error where that makes no sense)
  lasting  // this call and every later one, except close and unlink, which a full disk allows
};

// In this process and those forked from it, from now on; they count together.
void inject_fault(FaultKind kind, std::int64_t at, const std::string& under);

// How many calls there were. The first is 1.
std::int64_t counted_calls();

}  // namespace blockwise::testing
