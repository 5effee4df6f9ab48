// Signals that ask a run to stop at its next boundary: those of a terminal (SIGINT, SIGHUP) and
// those that schedulers send before they end a job (SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU).
#pragma once

#include <string>

namespace blockwise {

// Installs the handlers. The first signal makes stop_requested() true and says on standard error
// "SIGINT: stopping after this `unit`; again to quit". A second SIGINT or SIGTERM of the same kind
// ends the process at once. The others may come again, as they do of themselves: a closed terminal
// sends SIGHUP from the kernel and from the shell, SIGXCPU comes every second. A SIGHUP that was
// ignored when the program started (nohup) stays so.
void install_stop_handlers(const std::string& unit);
bool stop_requested();

// The first signal's name, "SIGTERM"; "a signal" where there was none in this process.
std::string stop_signal_name();

// As if there had been none: for a process that does one piece of work after another.
void forget_stop();

}  // namespace blockwise
