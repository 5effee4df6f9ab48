// The library of what the verbs do, which is all that needs LibTorch.
#pragma once

namespace blockwise {

// Loads it, which takes a quarter of a second: LibTorch registers thousands of operators. Returns
// its blockwise_run() (experiments/library), which does what main() does. Throws
// std::runtime_error with the linker's sentence where it cannot be loaded.
using RunFunction = int (*)(int argc, char** argv);
RunFunction load_verbs();

}  // namespace blockwise
