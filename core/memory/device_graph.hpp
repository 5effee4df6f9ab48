// DeviceGraph: work of a device that is recorded once and then asked for with one call, by CUDA
// graphs (CUDA C++ Programming Guide, "CUDA Graphs"). What the host would do between operations is
// gone from a replay: thousands of launches become one.
//
// A recording holds the addresses of tensors and the numbers of the host that it was made with:
// what changes from replay to replay has to lie in memory of the device, at one place. Work that
// reads a value of the device, or copies from the host's memory, cannot be recorded.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <functional>
#include <memory>
#include <optional>

namespace blockwise {

class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  // Calls `work` once, whose operations are recorded and not done. Tensors that it makes keep their
  // memory, in a pool of the graph's own, as long as the graph is there. Throws InputError with
  // LibTorch's words where an operation cannot be recorded.
  virtual void record(const std::function<void()>& work) = 0;
  // Does what was recorded, in the current stream.
  virtual void replay() = 0;
};

using MakeDeviceGraph = std::unique_ptr<DeviceGraph>();

// On the current CUDA device, whose current stream must not be its default one (SideStream). Throws
// InputError in a build without CUDA's headers.
MakeDeviceGraph make_device_graph;

// While it is there, a stream of its own is the device's current one for this thread, behind all
// that the device was asked for before.
class SideStream {
 public:
  explicit SideStream(at::Device device);
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

 private:
  at::Device device_;
  std::optional<c10::Stream> before_;  // none of a CPU
};

}  // namespace blockwise
