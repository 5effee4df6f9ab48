// In the place of device_backend_nccl.cpp where the build found no NCCL.
#include "core/base/error.hpp"
#include "core/parallel/device_backend.hpp"

namespace blockwise {

c10::intrusive_ptr<c10d::Backend> make_device_backend(const c10::intrusive_ptr<c10d::Store>&,
                                                      std::int64_t, std::int64_t size,
                                                      std::chrono::seconds) {
  throw InputError(
      fmt::format("{} processes on CUDA devices: blockwise was built without NCCL, by which they "
                  "talk; its headers come with a CUDA compiler and PyTorch's packages nvidia-*",
                  size));
}

}  // namespace blockwise
