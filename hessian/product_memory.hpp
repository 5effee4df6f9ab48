// Memory of curvature products in advance, and their cost.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/curvature.hpp"
#include "hessian/curvature_operators.hpp"

namespace blockwise {

// Bytes of tensors on the device that holds the model.
struct ProductMemory {
  std::int64_t model = 0;     // parameters, and their gradients' buffer
  std::int64_t resident = 0;  // kept between products: graphs of all batches, the loss's gradient
  std::int64_t peak = 0;      // highest during a product, with model, resident and two vectors
  std::int64_t files = 0;     // what of that is in files, not counted in peak
  // Why the graphs of a product could not be rehearsed; then peak is the model and two vectors, and
  // resident 0: what is known. Otherwise empty.
  std::string note;
};

// For `batches` batches of the sizes of `batch`, whose values do not matter: by running products on
// LibTorch's meta device (core/memory/meta_memory.hpp), with one and two batches; every further one
// adds what the second one did. Exact but for what kernels hold while they run.
struct ProductKind {
  ProductMethod method;
  CurvatureKind curvature;
  // Tensors of at least so many bytes are in files (core/memory/tensors_in_file.hpp), but for the
  // model.
  std::int64_t files_from = kNoFiles;
  static constexpr std::int64_t kNoFiles = std::numeric_limits<std::int64_t>::max();
};
ProductMemory product_memory(const ModelSpec& spec, at::ScalarType dtype, const Batch& batch,
                             std::int64_t batches, const ProductKind& kind);

// ", 3.000 GiB in files" where there are some; for messages.
std::string in_files(const ProductMemory& memory);

// What makes products smaller, for messages: "hessian.batches or ...".
extern const char* const kSmallerProducts;

// Gradients per product, as core/curvature.hpp counts them; the first one of kept_graph and
// finite_difference costs one more.
double product_cost(ProductMethod method, CurvatureKind kind);

// Gradients that the step of differences takes, once for the tensors of a subset; 0 for exact
// products.
double calibration_cost(ProductMethod method);

}  // namespace blockwise
