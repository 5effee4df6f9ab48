// Work on input that may make a library crash or hang, done in a process of its own that may die.
#pragma once

#include <functional>
#include <string>

namespace blockwise {

struct TrialResult {
  enum class Kind {
    done,         // the work returned
    input_error,  // it threw InputError
    error,        // it threw something else
    died          // it ended by a signal, or did not end
  };
  Kind kind = Kind::died;
  std::string text;  // the exception's, or how it died: "signal 11 (Segmentation fault)"
};

struct TrialLimits {
  unsigned computing_seconds = 30;
  unsigned seconds = 120;  // waiting included
};

// Runs `work` in a forked process and waits for it. There memory that the work uses without having
// set it is never zero, so that a defect which a lucky heap would hide shows there and not later
// here. What the work changes in memory is lost with the process; what it writes to files stays. It
// prints nothing, and it ends with this process.
// It must not start threads or use ones that were started here.
//
// Cost: a fork, half a millisecond and 50 ms for every GB that this process holds. Where none can
// be started (memory, limits) the work is done here.
TrialResult run_trial(const std::function<void()>& work, const TrialLimits& limits = {});

}  // namespace blockwise
