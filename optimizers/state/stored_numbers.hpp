// A stored form's tensors as the kernels of a device take them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/kernels/device/number_formats.hpp"

namespace blockwise {

// stored: the numbers, and what is beside them where there is something.
inline StoredNumbers stored_numbers(const std::vector<at::Tensor>& stored) {
  const bool has_more = stored.size() > 1 && stored[1].defined();
  return {stored[0].data_ptr(), has_more ? stored[1].data_ptr() : nullptr};
}

}  // namespace blockwise
