#include "core/autocast.hpp"

#include <ATen/autocast_mode.h>

namespace blockwise {

AutocastGuard::AutocastGuard(const c10::Device& device, bool wanted)
    : device_(device.type()), wanted_(wanted) {
  if (!wanted_) return;
  before_ = at::autocast::is_autocast_enabled(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  at::autocast::increment_nesting();
}

// The outermost region drops the bfloat16 copies of the weights, which the next step changes.
AutocastGuard::~AutocastGuard() {
  if (!wanted_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, before_);
}

}  // namespace blockwise
