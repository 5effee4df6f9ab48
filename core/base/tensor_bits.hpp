// A tensor's memory for kernels that know pointers only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/base/forward_context.hpp"

namespace blockwise {

// Whether a pass takes kernels of our own, which know float32 and bfloat16, for the tensor. On the
// meta device they allocate what they would on the CPU, and compute nothing.
inline bool has_cpu_kernel(const at::Tensor& x, const ForwardContext& context) {
  const auto type = x.scalar_type();
  return context.cpu_kernels && (x.is_cpu() || x.is_meta()) &&
         (type == at::kFloat || type == at::kBFloat16);
}

// The first element, as float or as the bits of a bfloat16.
template <typename T>
T* bits_of_tensor(const at::Tensor& x) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 2);
  return static_cast<T*>(x.data_ptr());
}

// Calls run(T{}) with the type of a tensor that has a kernel.
template <typename Run>
void with_bits(const at::Tensor& x, const Run& run) {
  x.scalar_type() == at::kFloat ? run(float{}) : run(std::uint16_t{});
}

}  // namespace blockwise
