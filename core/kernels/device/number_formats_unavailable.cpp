// In the place of number_formats_cuda.cu where the build found no CUDA compiler.
#include <stdexcept>

#include "core/kernels/device/number_formats.hpp"

namespace blockwise {

const NumberConverter& cuda_number_converter() {
  throw std::runtime_error(
      "blockwise was built without a CUDA compiler, so on a CUDA device it keeps state and masters "
      "in float32 only");
}

bool has_cuda_number_converter() { return false; }

}  // namespace blockwise
