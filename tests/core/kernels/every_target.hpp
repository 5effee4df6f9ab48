// For tests of kernels that Highway compiles once per instruction set.
#pragma once

#include <hwy/targets.h>

#include "tests/support/catch.hpp"

namespace blockwise::testing {

// Calls run() once for each instruction set that is compiled in and that the machine has.
template <typename Run>
void on_every_target(const Run& run) {
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    INFO(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    run();
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace blockwise::testing
