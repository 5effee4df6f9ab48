// LibTorch has NCCL in it and shows it to who asks.
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "core/parallel/device_backend.hpp"

namespace blockwise {

c10::intrusive_ptr<c10d::Backend> make_device_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                      std::int64_t rank, std::int64_t size,
                                                      std::chrono::seconds timeout) {
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("device", store), int(rank), int(size), options);
}

}  // namespace blockwise
