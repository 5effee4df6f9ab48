// What `blockwise bench` times, and how: cases of one group are interleaved in random order, each
// several times, so that a machine that slows down slows all of them. The clock and the loop are
// google-benchmark's.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>
#include <vector>

#include "experiments/bench/bench_request.hpp"

namespace blockwise {

struct BenchCase {
  std::string name;
  std::function<void()> run;  // one call
  // Of one call, 0 where it is not what bounds it.
  double bytes = 0.0;   // that must be moved once
  double flops = 0.0;   // of matrix products
  double tokens = 0.0;  // that are trained on
  // Cases of the same group, empty for none: the limit of which it is a share, by bytes or FLOPs
  // per second, and the one in whose seconds its own are told.
  std::string limit;
  std::string baseline;
};

struct BenchGroup {
  std::string name;
  std::vector<BenchCase> cases;
};

// The cases with these names, without the limits and baselines that are not among them. Throws
// InputError naming the group's for a name that it lacks.
BenchGroup chosen_cases(BenchGroup group, const std::vector<std::string>& names);

// Seconds of one call.
struct BenchTime {
  double median = 0.0, least = 0.0, most = 0.0;  // over the repetitions
};

// In the order of the cases. Every case has run once before. A call's seconds end when the device
// has done what it was asked for.
std::vector<BenchTime> time_cases(const BenchGroup& group, const BenchLength& length,
                                  at::Device device = at::kCPU);

}  // namespace blockwise
