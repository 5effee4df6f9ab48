// While alive and wanted: matrix products of the calling thread run in bfloat16 on the given device.
#pragma once

#include <c10/core/Device.h>

namespace blockwise {

class AutocastGuard {
 public:
  AutocastGuard(const c10::Device& device, bool wanted);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  c10::DeviceType device_;
  bool wanted_;
  bool before_ = false;
};

}  // namespace blockwise
