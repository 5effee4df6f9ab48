// What a matrix product in bfloat16 takes on the CPU beside its operands and its result.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>

namespace blockwise {

// The CPU's library packs the operands of such products into buffers from LibTorch's allocator:
// some 100 kB per thread, by shape and instruction set. Nothing tells their size but a product, so
// one of the same shape is done, halved where it is large until it has 2^28 multiplications: there
// the buffers hardly grow any more, and are nothing beside the tensors.
class ProductScratch {
 public:
  // Of a [m, k] times b [k, n], of which only shapes, strides and dtype count. 0 in other dtypes.
  std::int64_t bytes(const at::Tensor& a, const at::Tensor& b);

 private:
  std::map<std::array<std::int64_t, 5>, std::int64_t> known_;  // m, k, n, which are transposed
};

}  // namespace blockwise
