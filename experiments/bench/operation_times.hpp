// Times of LibTorch's operations in the calling thread, each without those that it calls.
#pragma once

#include <map>
#include <memory>
#include <string>

namespace blockwise {

// Follows the thread's operations while it lives; one at a time in a thread.
class OperationTimes {
 public:
  OperationTimes();
  ~OperationTimes();
  OperationTimes(const OperationTimes&) = delete;
  OperationTimes& operator=(const OperationTimes&) = delete;

  void restart();  // from zero
  // Seconds by name, such as "aten::mm". Operations that have begun are not in it.
  const std::map<std::string, double>& seconds() const;

 private:
  struct Followed;
  std::unique_ptr<Followed> followed_;
};

}  // namespace blockwise
