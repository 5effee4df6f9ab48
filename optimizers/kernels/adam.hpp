// Adam over one section of a tensor, for each structure that a second moment can have. Matrices are
// row-major float32 [rows, columns]; m has the matrix's shape. Threads are those of the OpenMP
// runtime; every sum has an order that depends on the shape alone, so results do not depend on the
// number of threads. Traffic: w and m are read and written once, g is read once from memory where
// the sums of its squares are given; otherwise once (and once from cache) as long as a band of
// tiles has at most 2^18 elements, twice above.
// `rates`: learning rates per block as factors of the step's; null for 1 everywhere. Each function
// returns the sum of (w_new - w_old)^2.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "optimizers/kernels/rate_map.hpp"
#include "optimizers/kernels/segment.hpp"

namespace blockwise::kernels {

// Scratch that a caller keeps between steps, so that no step allocates once sizes have been seen.
struct Workspace {
  std::vector<double> partials;   // one slot per chunk
  std::vector<double> tile_sums;  // chunks x tiles along the columns
  std::vector<double> squares;    // of a structure's values, where they are not given
  std::vector<float> roots;
};

struct MatrixView {
  float* w;
  const float* g;
  float* m;
  std::int64_t rows;
  std::int64_t columns;
  const RateMap* rates = nullptr;
  // Of tile_squares() or factor_squares() on the same g and structure; null: not known.
  const double* squares = nullptr;

  // `n` elements from number `at` on.
  Run run(std::int64_t at, std::int64_t n, const float* element_rates) const {
    return {w + at, g + at, m == nullptr ? m : m + at, n, element_rates};
  }
};

struct TileShape {
  std::int64_t rows, columns;
};

// Which of `count` blocks each element belongs to.
struct LabelView {
  const std::int32_t* labels;
  std::int64_t count;
};

// v: rows * columns values.
double adam_per_element(const MatrixView& matrix, float* v, const AdamStep& step, Workspace& space);

// v: one value per tile, row-major over tiles:
//   v_b <- beta2 v_b + (1 - beta2) gradient_scale^2 mean over the tile of g^2
// (Zhang et al., arXiv 2406.16793, Algorithm 1).
double adam_tiles(const MatrixView& matrix, float* v, const TileShape& tile, const AdamStep& step,
                  Workspace& space);

// The sums of g^2 that adam_tiles() takes, one per tile, without looking at w and m; returns the
// sum of them. One read of g: the pass that finds the norm.
double tile_squares(const MatrixView& matrix, const TileShape& tile, double* sums,
                    Workspace& space);

// Groups of group_rows rows. v: r (rows values), then c (groups x columns values):
//   r_i <- beta2 r_i + (1 - beta2) mean_j g'_ij^2,  c_j <- beta2 c_j + (1 - beta2) mean_i g'_ij^2
//   v_ij = r_i c_j / mean(r)      (Shazeer and Stern, arXiv 1804.04235, Algorithm 1, with means
//   instead of sums, beta2 constant, Adam's bias correction and no clipping of the update)
double adam_factored(const MatrixView& matrix, float* v, std::int64_t group_rows,
                     const AdamStep& step, Workspace& space);

// The sums of g^2 that adam_factored() takes, one per value of v and in its order; returns the sum
// over the matrix.
double factor_squares(const MatrixView& matrix, std::int64_t group_rows, double* sums,
                      Workspace& space);

// v: one value per label; labels: rows * columns numbers in [0, count).
double adam_labels(const MatrixView& matrix, float* v, const LabelView& blocks,
                   const AdamStep& step, Workspace& space);

// No v, the root of it taken as 1: w <- decay w - step_size m.
double momentum_step(const MatrixView& matrix, const AdamStep& step, Workspace& space);

// Lion; see lion() of segment.hpp.
double lion_step(const MatrixView& matrix, const AdamStep& step, Workspace& space);

// SGD with momentum; m is the momentum buffer.
double sgd_momentum(const MatrixView& matrix, const SgdStep& step, Workspace& space);

// SGD without a buffer; m is not looked at.
double gradient_descent(const MatrixView& matrix, const SgdStep& step, Workspace& space);

// Sum of squares of n elements, in double.
double squared_norm(const float* g, std::int64_t n, Workspace& space);

// A tensor of at most so many elements has no threads of its own.
inline constexpr std::int64_t kSerialElements = 1 << 15;

// Calls task(i, workspace) for i in [0, count) on all threads, each with a workspace of its own;
// kernels within it have no threads of their own.
void side_by_side(std::int64_t count, const std::function<void(std::int64_t, Workspace&)>& task);

}  // namespace blockwise::kernels
