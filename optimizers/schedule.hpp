// Learning-rate schedules: pure functions of the step, so resuming needs no state.
//
// Step t counts from 0; W warm-up steps, N steps in all (the run's, or `steps` where a run is meant
// to end before its schedule does), f the final fraction of the peak rate.
//   t < W:       (t + 1) / W                          linear warm-up, 1 at its last step
//   afterwards, with p = (t - W) / (N - W):
//   constant     1
//   linear       1 - (1 - f) p
//   cosine       f + (1 - f) (1 + cos(pi p)) / 2      (Loshchilov and Hutter, arXiv 1608.03983)
//   wsd          1, then over the last decay_fraction of the N steps 1 - (1 - f) sqrt(q), q from 0
//   to 1
//                (warmup-stable-decay, Hu et al., arXiv 2404.06395; 1-sqrt as Haegele et al.,
//                2405.18392)
// p stays below 1: the last step is one short of the final rate.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"

namespace blockwise {

struct ScheduleConfig {
  std::string name = "cosine";
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 0;  // 0: the run's
  double final_fraction = 0.1;
  double decay_fraction = 0.2;  // wsd only

  void visit(FieldVisitor& v);
};

struct ScheduleEntry {
  std::string name;
  std::string doc;
  double (*fraction)(const ScheduleConfig& config, std::int64_t step, std::int64_t steps);
};

const std::vector<ScheduleEntry>& schedules();

// Fraction of the peak rate at `step` of a run of `run_steps`; 0 <= step < run_steps.
double schedule_fraction(const ScheduleConfig& config, std::int64_t step, std::int64_t run_steps);

}  // namespace blockwise
