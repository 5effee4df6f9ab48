// The source of the CUDA kernels, compiled for the fibers beside this file. BLOCKWISE_STEPPER names
// what it defines, so that copies with planted faults stand beside it.
#define make_cuda_stepper BLOCKWISE_STEPPER
#define why_no_cuda_stepper why_no_stepper

namespace blockwise::kernels {
static const char* why_no_stepper();
}

#include "optimizers/kernels/flat_step_cuda.cu"
