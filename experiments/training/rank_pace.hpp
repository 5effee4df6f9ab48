// RankPace: finds a process that keeps the others waiting.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

class RankPace {
 public:
  // Seconds that every rank has computed in a step, without waiting for others. Returns a sentence
  // that names a rank whose median over the last kSteps steps is kSlow times that of the median
  // rank or more; once for each rank. Otherwise nothing.
  std::string add(const std::vector<double>& seconds);

  static constexpr std::size_t kSteps = 10;
  static constexpr double kSlow = 1.5;

 private:
  std::vector<std::vector<double>> last_;  // by rank, kSteps at most
  std::vector<bool> named_;
};

}  // namespace blockwise
