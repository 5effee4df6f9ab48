// Counts the calls of LibTorch's operations for which the host has to wait for the device, on this
// thread: those that read a value, and those whose result has as many elements as the values say.
// On the CPU they cost nothing, so only counting shows them. A copy to the host is no operation of
// its own there and is not seen.
#pragma once

#include <map>
#include <set>
#include <string>

#include "tests/support/operation_watch.hpp"

namespace blockwise::testing {

class WaitingCalls : public OperationWatch {
 public:
  WaitingCalls() : OperationWatch(Inputs::unseen) {}
  ~WaitingCalls() override = default;

  void restart() {
    counts_.clear();
    operations_ = 0;
  }
  // By name, only what was called. "aten::item" is its _local_scalar_dense.
  const std::map<std::string, int>& counts() const { return counts_; }
  // All operations, so that a test can see that something was watched.
  int operations() const { return operations_; }

 private:
  void see(const at::RecordFunction& f) override {
    const std::string name = f.name();
    static const std::set<std::string> waiting = {
        "aten::_local_scalar_dense", "aten::nonzero",      "aten::equal",
        "aten::masked_select",       "aten::_unique2",     "aten::unique_dim",
        "aten::unique_consecutive",  "aten::bincount",     "aten::allclose",
        "aten::_linalg_svd",         "aten::_linalg_eigh", "aten::_linalg_check_errors"};
    ++operations_;
    if (waiting.contains(name)) ++counts_[name];
  }

  std::map<std::string, int> counts_;
  int operations_ = 0;
};

}  // namespace blockwise::testing
