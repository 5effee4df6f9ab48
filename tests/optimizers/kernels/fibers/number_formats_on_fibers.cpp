// The source of the CUDA kernels for numbers in fewer bits, compiled for the fibers beside this
// file. BLOCKWISE_CONVERTER names what it defines, so that copies with planted faults stand beside
// it.
#define BLOCKWISE_JOINED(a, b) a##b
#define BLOCKWISE_HAS(name) BLOCKWISE_JOINED(has_, name)
#define cuda_number_converter BLOCKWISE_CONVERTER
#define has_cuda_number_converter BLOCKWISE_HAS(BLOCKWISE_CONVERTER)

#include "core/kernels/device/number_formats_cuda.cu"
