// In the place of flat_step_cuda.cu where the build found no CUDA compiler.
#include <stdexcept>

#include "optimizers/kernels/flat_step.hpp"

namespace blockwise::kernels {

const char* why_no_cuda_stepper() {
  return "blockwise was built without a CUDA compiler, so it has no CUDA kernels";
}

std::unique_ptr<FlatStepper> make_cuda_stepper(const FlatPlan&, void*) {
  throw std::runtime_error(why_no_cuda_stepper());
}

}  // namespace blockwise::kernels
