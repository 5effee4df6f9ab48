// How soon a run comes down to a loss: optimizer steps, training tokens, seconds of training.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/base/sample_summary.hpp"
#include "experiments/records/run_recorder.hpp"

namespace blockwise {

struct Effort {
  double steps = 0.0;
  double tokens = 0.0;
  double seconds = 0.0;  // of the steps alone, without evaluations and checkpoints
};

// The validation loss of a run over its effort, in the order of its evaluations.
struct LossCourse {
  struct Point {
    Effort effort;
    double loss = 0.0;
  };
  std::vector<Point> points;
};

LossCourse loss_course(const RunResult& run);

// The effort at which the course first comes down to `loss`, linear between two evaluations.
// Nothing where it never does: the run is censored at its end.
std::optional<Effort> effort_to(const LossCourse& course, double loss);

// How much of the baseline's effort a configuration needs until it has the baseline's final loss,
// each seed that of its own baseline run. A baseline that was lower before its end has reached it
// there.
struct TimeToLoss {
  std::size_t pairs = 0;         // seeds that both have
  std::size_t reached = 0;       // seeds at which this configuration gets there
  std::optional<Effort> effort;  // mean over the seeds that get there
  // log(own effort / the baseline's) by seed, with Student's paired t-test of a mean of 0: e to the
  // mean is the geometric mean of the ratios. Only where all pairs get there: leaving out the ones
  // that do not would make the others the faster of the two by selection.
  std::optional<PairedTest> log_steps, log_tokens, log_seconds;
};

// Courses by seed, also of runs that diverged, which do not get there; the baseline's with its
// final loss at the end. Of itself: all ratios are 1.
TimeToLoss time_to_baseline(const std::map<std::int64_t, LossCourse>& own,
                            const std::map<std::int64_t, LossCourse>& baseline);

}  // namespace blockwise
