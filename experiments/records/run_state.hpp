// How far a run is, or how it ended.
#pragma once

namespace blockwise {

enum class RunState { running = 0, finished = 1, diverged = 2, failed = 3, interrupted = 4 };

}  // namespace blockwise
