// Matrix products of float32 layers on the CPU by oneDNN, which LibTorch brings for compiled
// graphs: forward and for the gradient of the inputs faster than the library behind its own
// operators where that is not made for the processor (docs/speed.md).
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// Whether this LibTorch has them.
bool has_dense_products();

// Whether x [.., k] times weight^T [k, n] is one: float32 on the CPU, or on the meta device, and
// enough of it that the call does not cost what it saves.
bool is_dense_product(const at::Tensor& x, const at::Tensor& weight);

// x weight^T + bias, [.., n], for x [.., k], weight [n, k], bias [n] or undefined; at::linear where
// it is none of those. Without a graph. The same bits each time for a fixed number of threads;
// those of at::linear but for the order of sums. Memory beside the result: some 100 kB a thread,
// which MetaMemory counts on the meta device.
at::Tensor dense_product(const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& bias = {});

// What dense_product() records itself as on the meta device, with x and weight.
inline constexpr const char* kDenseProduct = "blockwise::dense_product";

}  // namespace blockwise
