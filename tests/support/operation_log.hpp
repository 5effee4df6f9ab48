// What is asked of LibTorch on this thread: every operation with the numbers that the host gives
// it, and of tensors their shape and type. Two passes with one log would be one CUDA graph.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/support/operation_watch.hpp"

namespace blockwise::testing {

class OperationLog : public OperationWatch {
 public:
  OperationLog() : OperationWatch(Inputs::seen) {}
  ~OperationLog() override = default;

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
  void see(const at::RecordFunction& f) override {
    std::string line = f.name();
    for (const auto& input : f.inputs()) line += " " + text(input);
    lines_.push_back(std::move(line));
  }

  std::vector<std::string> lines_;
};

}  // namespace blockwise::testing
