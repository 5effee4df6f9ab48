// Counts the calls of LibTorch's operations for which the host has to wait for the device, on this
// thread: those that read a value, and those whose result has as many elements as the values say.
// On the CPU they cost nothing, so only counting shows them. A copy to the host is no operation of
// its own there and is not seen.
#pragma once

#include <ATen/record_function.h>

#include <map>
#include <set>
#include <string>

namespace blockwise::testing {

class WaitingCalls {
 public:
  WaitingCalls() {
    of_thread() = this;
    const auto begin = [](const at::RecordFunction& f) -> std::unique_ptr<at::ObserverContext> {
      of_thread()->add(f.name());
      return nullptr;
    };
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(begin).scopes({at::RecordScope::FUNCTION}));
  }
  ~WaitingCalls() {
    at::removeCallback(handle_);
    of_thread() = nullptr;
  }
  WaitingCalls(const WaitingCalls&) = delete;
  WaitingCalls& operator=(const WaitingCalls&) = delete;

  void restart() {
    counts_.clear();
    operations_ = 0;
  }
  // By name, only what was called. "aten::item" is its _local_scalar_dense.
  const std::map<std::string, int>& counts() const { return counts_; }
  // All operations, so that a test can see that something was watched.
  int operations() const { return operations_; }

 private:
  void add(const std::string& name) {
    static const std::set<std::string> waiting = {
        "aten::_local_scalar_dense", "aten::nonzero",      "aten::equal",
        "aten::masked_select",       "aten::_unique2",     "aten::unique_dim",
        "aten::unique_consecutive",  "aten::bincount",     "aten::allclose",
        "aten::_linalg_svd",         "aten::_linalg_eigh", "aten::_linalg_check_errors"};
    ++operations_;
    if (waiting.contains(name)) ++counts_[name];
  }
  // The callbacks of LibTorch are plain functions.
  static WaitingCalls*& of_thread() {
    thread_local WaitingCalls* calls = nullptr;
    return calls;
  }

  std::map<std::string, int> counts_;
  int operations_ = 0;
  at::CallbackHandle handle_ = 0;
};

}  // namespace blockwise::testing
