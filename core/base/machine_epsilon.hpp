// The relative spacing of floating-point numbers.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// Between 1 and the next number: 2^-52 of float64, 2^-23 of float32, to two digits. Half of it is
// what a rounding gets wrong at most.
inline double machine_epsilon(at::ScalarType type) {
  return type == at::ScalarType::Double ? 2.2e-16 : 1.2e-7;
}
inline double machine_epsilon(const at::TensorOptions& options) {
  return machine_epsilon(c10::typeMetaToScalarType(options.dtype()));
}

}  // namespace blockwise
