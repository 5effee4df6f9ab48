#include "core/memory/device_graph.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace blockwise {

SideStream::SideStream(at::Device device) : device_(device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.synchronizeStream(guard.getStream(device));
  before_ = guard.exchangeStream(guard.getStreamFromGlobalPool(device));
}

SideStream::~SideStream() {
  if (!before_) return;
  const c10::impl::VirtualGuardImpl guard(device_.type());
  guard.synchronizeStream(guard.getStream(device_));
  guard.exchangeStream(*before_);
}

}  // namespace blockwise
