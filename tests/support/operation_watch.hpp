// OperationWatch: sees every operation that is asked of LibTorch on this thread, as long as it is
// there. One at a time.
#pragma once

#include <ATen/record_function.h>

#include <memory>

namespace blockwise::testing {

class OperationWatch {
 public:
  OperationWatch(const OperationWatch&) = delete;
  OperationWatch& operator=(const OperationWatch&) = delete;

 protected:
  enum class Inputs { unseen, seen };

  explicit OperationWatch(Inputs inputs) {
    of_thread() = this;
    const auto begin = [](const at::RecordFunction& f) -> std::unique_ptr<at::ObserverContext> {
      of_thread()->see(f);
      return nullptr;
    };
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(begin)
                                             .needsInputs(inputs == Inputs::seen)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  virtual ~OperationWatch() {
    at::removeCallback(handle_);
    of_thread() = nullptr;
  }
  virtual void see(const at::RecordFunction& f) = 0;

 private:
  // The callbacks of LibTorch are plain functions.
  static OperationWatch*& of_thread() {
    thread_local OperationWatch* watch = nullptr;
    return watch;
  }

  at::CallbackHandle handle_ = 0;
};

}  // namespace blockwise::testing
