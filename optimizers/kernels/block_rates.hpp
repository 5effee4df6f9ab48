// Steps that were made with one learning rate, turned into steps with one per block:
//   w <- before + rate_b (w - before)
// before and w: row-major float32 [rows, columns]. Return the sum of the squared steps that are
// left, in an order that depends on the shape alone.
#pragma once

#include <cstdint>

#include "optimizers/kernels/adam.hpp"

namespace blockwise::kernels {

// rates: one per tile of tile_rows x tile_columns, row-major over tiles.
double scale_tiles(const float* before, float* w, std::int64_t rows, std::int64_t columns,
                   std::int64_t tile_rows, std::int64_t tile_columns, const double* rates,
                   Workspace& space);

// rates: one per label; labels: one per element.
double scale_labels(const float* before, float* w, std::int64_t rows, std::int64_t columns,
                    const std::int32_t* labels, const double* rates, Workspace& space);

}  // namespace blockwise::kernels
