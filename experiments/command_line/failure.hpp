// What the program says where something failed.
#pragma once

#include <functional>

namespace blockwise {

// What `work` returns, an exit code; an exception becomes a sentence on standard error and the exit
// code of its kind (core/base/error.hpp). 1 where what was printed did not arrive.
int explain_failures(const std::function<int()>& work);

}  // namespace blockwise
