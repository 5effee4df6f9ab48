// The bits of bf16 tensors, for kernels that know no LibTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blockwise {

// x: bfloat16, contiguous, on the CPU.
inline std::uint16_t* bf16_bits(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
}

}  // namespace blockwise
