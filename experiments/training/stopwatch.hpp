// Stopwatch: adds the seconds since the last lap to a counter.
#pragma once

#include <chrono>

namespace blockwise {

class Stopwatch {
 public:
  void lap(double& counter) {
    const auto now = Clock::now();
    counter += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace blockwise
