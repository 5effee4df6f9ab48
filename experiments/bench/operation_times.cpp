#include "experiments/bench/operation_times.hpp"

#include <ATen/record_function.h>

#include <chrono>
#include <vector>

namespace blockwise {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

struct OperationTimes::Followed {
  struct Open {
    Clock::time_point start;
    double inner = 0.0;  // seconds of the operations that it called
  };
  std::vector<Open> open;
  std::map<std::string, double> seconds;
  at::CallbackHandle handle = 0;

  void begin() { open.push_back({Clock::now()}); }
  void end(const char* name) {
    if (open.empty()) return;  // began before us
    const double whole = seconds_since(open.back().start);
    seconds[name] += whole - open.back().inner;
    open.pop_back();
    if (!open.empty()) open.back().inner += whole;
  }

  // The callbacks of LibTorch are plain functions.
  static Followed*& of_thread() {
    thread_local Followed* followed = nullptr;
    return followed;
  }
};

OperationTimes::OperationTimes() : followed_(std::make_unique<Followed>()) {
  Followed::of_thread() = followed_.get();
  const auto begin = [](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> {
    Followed::of_thread()->begin();
    return nullptr;
  };
  const auto end = [](const at::RecordFunction& function, at::ObserverContext*) {
    Followed::of_thread()->end(function.name());
  };
  followed_->handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(begin, end).scopes({at::RecordScope::FUNCTION}));
}

OperationTimes::~OperationTimes() {
  at::removeCallback(followed_->handle);
  Followed::of_thread() = nullptr;
}

void OperationTimes::restart() { followed_->seconds.clear(); }

const std::map<std::string, double>& OperationTimes::seconds() const { return followed_->seconds; }

}  // namespace blockwise
