// The last words of a verb that a signal stopped.
#pragma once

#include <string>

namespace blockwise {

// The command line of this process as a shell reads it.
std::string this_command();

// "Stopped by SIGTERM. This goes on:" and the command, on standard output, or on standard error
// where that holds a machine-readable word. Returns kExitInterrupted.
int report_stop(bool json);

}  // namespace blockwise
