#include "experiments/program/wait_policy.hpp"

#include <cstdlib>

namespace blockwise {

void spin_briefly() {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "2000", /*replace=*/0);
}

}  // namespace blockwise
