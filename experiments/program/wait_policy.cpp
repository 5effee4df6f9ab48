#include "experiments/program/wait_policy.hpp"

#include <cstdlib>

namespace blockwise {

void wait_passively() {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", /*replace=*/0);
}

}  // namespace blockwise
