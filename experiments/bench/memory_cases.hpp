// Cases that others are compared with: what memory and matrix products of this machine can do.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "experiments/bench/bench_case.hpp"

namespace blockwise {

// a = b over `elements` float32 numbers: 8 bytes each.
BenchCase copy_case(std::int64_t elements, at::Device device);
// a = b + c s: 12 bytes each.
BenchCase triad_case(std::int64_t elements, at::Device device);

struct ProductShape {
  std::int64_t rows, inner, columns;
};
// [rows, inner] x [inner, columns] through the library that the models use.
BenchCase product_case(const std::string& name, const ProductShape& shape, c10::ScalarType type,
                       at::Device device);

}  // namespace blockwise
