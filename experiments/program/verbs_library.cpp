#include "experiments/program/verbs_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <stdexcept>

namespace blockwise {
namespace {

[[noreturn]] void fail() {
  throw std::runtime_error(fmt::format("what the verbs do cannot be loaded: {}", ::dlerror()));
}

}  // namespace

// Found by the program's own run path, which CMake writes: beside it in a build, in lib/blockwise
// where it is installed. Visible to all that is loaded later, as libraries that a program is linked
// with are: a LibTorch whose MKL has parts of its own to load looks for symbols there. Never
// unloaded.
RunFunction load_verbs() {
  void* library = ::dlopen(BLOCKWISE_VERBS_LIBRARY, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) fail();
  void* function = ::dlsym(library, "blockwise_run");
  if (function == nullptr) fail();
  return reinterpret_cast<RunFunction>(function);
}

}  // namespace blockwise
