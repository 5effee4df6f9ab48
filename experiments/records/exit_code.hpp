// What the program's exit code says; the same for every verb.
//
//   0  finished: what was asked for is there. A sweep with diverged members is one, and says so.
//   1  failed: a full disk, no memory, a member of a sweep that failed.
//   2  bad input: nothing was done that better input would not have to do again.
//   3  diverged: the loss left the bound (trainer.divergence_factor, trainer.divergence_loss) or is
//      not finite. The run is over; the same command says so again.
//   4  interrupted: a signal stopped it at a boundary, with what is needed to go on saved. The same
//      command goes on. (Where some of a sweep failed as well: what goes on runs those again.)
//
// Above 2, which command lines use themselves, and below 64, where sysexits.h begins; `timeout` and
// shells use 124 to 127, and 128 + n says that signal n killed a process: then nothing was saved.
#pragma once

#include <string>

#include "experiments/records/run_state.hpp"

namespace blockwise {

inline constexpr int kExitFinished = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitDiverged = 3;
inline constexpr int kExitInterrupted = 4;

// Of a run that ended so; one that still says `running` was killed, and failed.
int exit_code_of(RunState state);

// "bad input" for 2; empty for a code that the program does not give.
std::string exit_code_text(int code);

// The list above as a line of help.
std::string exit_code_help();

}  // namespace blockwise
