#include "experiments/curvature/led_work.hpp"

#include "hessian/stoppable_operator.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kMoments = -1, kEnd = -2;  // beside the numbers of curvatures

}  // namespace

void lead_curvature(const Ranks& ranks, std::int64_t number) { ranks.number_of_first(number); }

void lead_moments(const Ranks& ranks) { ranks.number_of_first(kMoments); }

void lead_end(const Ranks& ranks, std::int64_t outcome) {
  ranks.number_of_first(kEnd);
  ranks.number_of_first(outcome);
}

std::int64_t serve_work(const Ranks& ranks, const LedWork& work) {
  while (true) {
    const auto asked = ranks.number_of_first(0);
    if (asked == kEnd) return ranks.number_of_first(0);
    if (asked != kMoments) {
      work.curvature(asked);
      continue;
    }
    try {
      work.moments();
    } catch (const Stopped&) {
    }
  }
}

}  // namespace blockwise
