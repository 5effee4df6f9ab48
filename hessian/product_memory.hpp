// Memory of curvature products in advance, and their cost.
#pragma once

#include <cstdint>
#include <vector>

#include "core/curvature.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

// Bytes of tensors on the device that holds the model.
struct ProductMemory {
  std::int64_t model = 0;     // parameters, and their gradients' buffer
  std::int64_t resident = 0;  // kept between products: graphs of all batches, the loss's gradient
  std::int64_t peak = 0;      // highest during a product, with model, resident and two vectors
};

// By running the products themselves on LibTorch's meta device (core/meta_memory.hpp). `batches`
// say the sizes only. Exact but for what kernels hold while they run.
ProductMemory product_memory(const ModelSpec& spec, at::ScalarType dtype,
                             const std::vector<Batch>& batches, ProductMethod method,
                             CurvatureKind kind);

// Gradients per product, as core/curvature.hpp counts them; the first one of kept_graph and
// finite_difference costs one more.
double product_cost(ProductMethod method, CurvatureKind kind);

}  // namespace blockwise
