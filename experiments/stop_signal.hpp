// SIGINT and SIGTERM ask a run to stop at its next step boundary.
#pragma once

namespace blockwise {

// Installs the handlers; a second signal of the same kind ends the process at once.
void install_stop_handlers();
bool stop_requested();

}  // namespace blockwise
