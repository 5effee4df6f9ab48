// Everything before the update: sums of squares, the norm, and the shared second moments.
#pragma once

#include "optimizers/kernels/device_sums.cuh"
#include "optimizers/kernels/segment.hpp"

namespace blockwise::kernels {
namespace {

// The plan's tables and what a step writes beside the buffers, on the device.
struct Tables {
  const Piece* pieces;
  const SharedValue* values;
  const FactoredGroup* groups;
  const std::int64_t* tensor_pieces;
  std::int64_t piece_count, value_count;
  double* partials;       // by slot of the plan
  double* piece_squares;  // sum of g^2 of every piece
  double* norm_parts;     // of kNormPart pieces each
  double* group_means;    // of r
  double* piece_moved;    // sum of (w_new - w_old)^2 of every piece
};

// What the host gets; the sums of (w_new - w_old)^2 of the tensors lie behind it.
struct Outcome {
  double squared_norm;
  float gradient_scale;
  std::uint32_t ticket;  // blocks of norm() that are done; 0 between steps
};

constexpr std::int64_t kNormPart = 4 * kThreads;

// A norm that is finite and no NaN.
__device__ bool is_finite(const Outcome& outcome) {
  return outcome.squared_norm <= 1.7976931348623157e308;
}

__device__ double segment_squares(const float* g, std::int64_t begin, int length,
                                  const Team& team) {
  const Quads quads(begin, length);
  const float* x = g + begin;
  float sum = 0.0f;
#pragma unroll 4
  for (int q = team.lane; q < quads.count; q += team.size) {
    const float4 y = load4(x + quads.first(q));
    sum = fmaf(y.x, y.x, sum);
    sum = fmaf(y.y, y.y, sum);
    sum = fmaf(y.z, y.z, sum);
    sum = fmaf(y.w, y.w, sum);
  }
  const int edge = quads.edge(team.lane, length);
  if (edge >= 0) sum = fmaf(x[edge], x[edge], sum);
  return sum;
}

// The thread's part of the piece's sum; segments that a warp has for itself are stored here.
__device__ double squares_of_segments(const Piece& piece, const float* g, double* partials) {
  const Team team(piece.length);
  double total = 0.0;
  for (int segment = team.number; segment < piece.count; segment += team.count) {
    const auto begin = piece.begin + static_cast<std::int64_t>(segment) * piece.length;
    double sum = segment_squares(g, begin, piece.length, team);
    if (team.size == kWarp) {
      sum = warp_sum(sum);
      if (team.lane > 0) sum = 0.0;
      if (team.lane == 0 && piece.partial >= 0) partials[piece.partial + segment] = sum;
    }
    total += sum;
  }
  return total;
}

constexpr int kColumnsPerThread = static_cast<int>(kStripColumns) / kThreads;

// Sums along the columns and, of factored moments, along the rows.
__device__ double squares_of_strip(const Piece& piece, const float* g, double* partials) {
  __shared__ double rows[kStripRows][kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  float columns[kColumnsPerThread] = {};
  for (int row = 0; row < piece.count; ++row) {
    const float* x = g + piece.begin + row * piece.stride;
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < kColumnsPerThread; ++k) {
      const int column = thread + k * kThreads;
      const float y = column < piece.length ? x[column] : 0.0f;
      columns[k] = fmaf(y, y, columns[k]);
      sum = fmaf(y, y, sum);
    }
    if (piece.is(Piece::factored)) {
      const double of_warp = warp_sum(sum);
      if (thread % kWarp == 0) rows[row][thread / kWarp] = of_warp;
    }
  }
  double total = 0.0;
  for (int k = 0; k < kColumnsPerThread; ++k) {
    const int column = thread + k * kThreads;
    if (column < piece.length && piece.partial >= 0) partials[piece.partial + column] = columns[k];
    total += columns[k];
  }
  if (!piece.is(Piece::factored)) return total;
  __syncthreads();
  if (thread < piece.count) {
    double sum = 0.0;
    for (int warp = 0; warp < kWarps; ++warp) sum += rows[thread][warp];
    partials[piece.row_partial + static_cast<std::int64_t>(thread) * piece.row_slots] = sum;
  }
  return total;
}

// One block per piece.
__global__ void __launch_bounds__(kThreads) squares(Tables tables, const float* g) {
  const Piece piece = tables.pieces[blockIdx.x];
  const double part = piece.is(Piece::strip) ? squares_of_strip(piece, g, tables.partials)
                                             : squares_of_segments(piece, g, tables.partials);
  const double total = block_sum(part);
  if (threadIdx.x > 0) return;
  tables.piece_squares[blockIdx.x] = total;
  const bool of_block = !piece.is(Piece::strip) && piece.length > kWarpSegment;
  if (of_block && piece.partial >= 0) tables.partials[piece.partial] = total;
}

// Strided over the block's threads: thread 0 gets the sum of what other blocks wrote.
__device__ double sum_of(const double* x, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads) sum += __ldcg(x + i);
  return block_sum(sum);
}

// The factor of clip_grad_norm_: see clipping.hpp.
__device__ float clip_scale(double squared_norm, double bound) {
  if (bound <= 0.0) return 1.0f;
  const double scale = bound / (sqrt(squared_norm) + 1e-6);
  return static_cast<float>(scale < 1.0 ? scale : 1.0);
}

// One block per kNormPart pieces; the last to be done adds what they found, in their order.
__global__ void __launch_bounds__(kThreads)
    norm_parts(Tables tables, double bound, Outcome* outcome) {
  const std::int64_t begin = blockIdx.x * kNormPart;
  const std::int64_t left = tables.piece_count - begin;
  const double part = sum_of(tables.piece_squares + begin, left < kNormPart ? left : kNormPart);
  if (threadIdx.x > 0) return;
  tables.norm_parts[blockIdx.x] = part;
  __threadfence();
  if (atomicAdd(&outcome->ticket, 1u) + 1 != gridDim.x) return;
  __threadfence();
  double total = 0.0;
  for (unsigned i = 0; i < gridDim.x; ++i) total += __ldcg(tables.norm_parts + i);
  outcome->squared_norm = total;
  outcome->gradient_scale = clip_scale(total, bound);
  outcome->ticket = 0;
}

// One warp per shared value: v <- beta2 v + (1 - beta2) mean g'^2.
__global__ void __launch_bounds__(kThreads)
    moments(Tables tables, AdamStep step, float* v, const Outcome* outcome) {
  const auto number = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (number >= tables.value_count || !is_finite(*outcome)) return;
  const SharedValue value = tables.values[number];
  const auto inner = static_cast<std::uint32_t>(value.inner);
  const auto slots = inner * static_cast<std::uint32_t>(value.outer);
  const double* partials = tables.partials + value.partial;
  double sum = 0.0;
  for (std::uint32_t i = threadIdx.x % kWarp; i < slots; i += kWarp) {
    sum += partials[i / inner * value.stride + i % inner];
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp > 0) return;
  const double scale = outcome->gradient_scale;
  const auto mean = static_cast<float>(sum * (scale * scale) / value.elements);
  v[value.value] = fmaf(step.beta2, v[value.value], step.one_minus_beta2 * mean);
}

// One block per factored group: the mean of r.
__global__ void __launch_bounds__(kThreads)
    group_means(Tables tables, const float* v, const Outcome* outcome) {
  if (!is_finite(*outcome)) return;
  const FactoredGroup group = tables.groups[blockIdx.x];
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < group.rows; i += kThreads) sum += v[group.value + i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) tables.group_means[blockIdx.x] = sum / static_cast<double>(group.rows);
}

// One block per tensor.
__global__ void __launch_bounds__(kThreads) totals(Tables tables, double* moved) {
  const std::int64_t begin = tables.tensor_pieces[blockIdx.x];
  const double sum =
      sum_of(tables.piece_moved + begin, tables.tensor_pieces[blockIdx.x + 1] - begin);
  if (threadIdx.x == 0) moved[blockIdx.x] = sum;
}

}  // namespace
}  // namespace blockwise::kernels
