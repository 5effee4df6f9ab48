// CUDA graphs as LibTorch has them: it gives each a pool of memory.
#include <ATen/cuda/CUDAGraph.h>

#include "core/base/error.hpp"
#include "core/memory/device_graph.hpp"

namespace blockwise {
namespace {

class CudaGraph : public DeviceGraph {
 public:
  void record(const std::function<void()>& work) override {
    // What earlier passes left in the allocator is of no use to a pool of the graph's own.
    c10::cuda::CUDACachingAllocator::emptyCache();
    try {
      graph_.capture_begin();
      work();
      graph_.capture_end();
    } catch (const c10::Error& error) {
      throw InputError(
          fmt::format("a CUDA graph cannot record this work: {}", error.what_without_backtrace()));
    }
  }
  void replay() override { graph_.replay(); }

 private:
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_device_graph() { return std::make_unique<CudaGraph>(); }

}  // namespace blockwise
