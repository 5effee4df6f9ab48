// What is asked of LibTorch on this thread: every operation with the numbers that the host gives
// it, and of tensors their shape and type. Two passes with one log would be one CUDA graph.
#pragma once

#include <ATen/record_function.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>
#include <string>
#include <vector>

namespace blockwise::testing {

class OperationLog {
 public:
  OperationLog() {
    of_thread() = this;
    const auto begin = [](const at::RecordFunction& f) -> std::unique_ptr<at::ObserverContext> {
      of_thread()->add(f);
      return nullptr;
    };
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(begin).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~OperationLog() {
    at::removeCallback(handle_);
    of_thread() = nullptr;
  }
  OperationLog(const OperationLog&) = delete;
  OperationLog& operator=(const OperationLog&) = delete;

  const std::vector<std::string>& lines() const { return lines_; }

 private:
  static std::string text(const c10::IValue& value) {
    if (value.isTensor()) {
      const auto& x = value.toTensor();
      if (!x.defined()) return "-";
      return fmt::format("{}{}", c10::toString(x.scalar_type()), x.sizes().vec());
    }
    if (value.isGenerator()) return "generator";
    if (value.isTensorList()) return fmt::format("{} tensors", value.toTensorVector().size());
    if (value.isList()) {
      std::vector<std::string> parts;
      for (const auto& part : value.toListRef()) parts.push_back(text(part));
      return fmt::format("{}", parts);
    }
    std::ostringstream words;
    words << value;
    return words.str();
  }
  void add(const at::RecordFunction& f) {
    std::string line = f.name();
    for (const auto& input : f.inputs()) line += " " + text(input);
    lines_.push_back(std::move(line));
  }
  // The callbacks of LibTorch are plain functions.
  static OperationLog*& of_thread() {
    thread_local OperationLog* log = nullptr;
    return log;
  }

  std::vector<std::string> lines_;
  at::CallbackHandle handle_ = 0;
};

}  // namespace blockwise::testing
