// In the place of device_graph_cuda.cpp where the build found no CUDA headers.
#include "core/base/error.hpp"
#include "core/memory/device_graph.hpp"

namespace blockwise {

std::unique_ptr<DeviceGraph> make_device_graph() {
  throw InputError(
      "CUDA graphs: blockwise was built without the headers by which LibTorch has them; they come "
      "with a CUDA compiler, and as PyTorch's packages nvidia-*");
}

}  // namespace blockwise
