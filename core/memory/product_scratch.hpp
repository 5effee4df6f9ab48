// What a matrix product by oneDNN takes on the CPU beside its operands and its result.
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
  // Of at::mm of a [m, k] and b [k, n] in bfloat16, of which only shapes and strides count. 0 in
  // other dtypes, which have another library.
  std::int64_t bytes(const at::Tensor& a, const at::Tensor& b);
  // Of dense_product() of x [.., k] and weight [n, k].
  std::int64_t bytes_of_dense(const at::Tensor& x, const at::Tensor& weight);

 private:
  using Shape = std::array<std::int64_t, 5>;  // m, k, n, which are transposed
  using Known = std::map<Shape, std::int64_t>;
  using Product = at::Tensor (*)(const at::Tensor& a, const at::Tensor& b);

  static std::int64_t bytes_of(Shape shape, at::ScalarType type, Product multiply, Known& known);

  Known known_, known_dense_;
};

}  // namespace blockwise
