// Whether work shall end early, asked between its units (a product, a step, a trial). Passed in by
// whoever starts the work, so that a test can stop it at any unit and no library reads a global.
#pragma once

#include <functional>

namespace blockwise {

// True from the moment on at which the work shall stop; never false again. Cheap.
using StopQuery = std::function<bool()>;

inline bool never_stop() { return false; }

}  // namespace blockwise
