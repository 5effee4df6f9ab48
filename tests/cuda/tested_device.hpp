// Where the tests of this folder take their steps: on the first CUDA device, or, where there is
// none, on the CPU by the fibers of tests/optimizers/kernels, so that the tests themselves are
// tested anywhere.
#pragma once

#include <c10/core/Device.h>

#include "tests/support/flat_problem.hpp"

namespace blockwise::testing {

at::Device tested_device();

// For tests of what fibers cannot stand for: false, after the words for which CTest counts the test
// as skipped, where there is no CUDA device.
bool has_cuda_device();

// The kernels on that device, and memory of it.
kernels::MakeFlatStepper& tested_stepper();
MakeProblemMemory& tested_memory();

}  // namespace blockwise::testing
