// The update of weights and of what a rule keeps per element.
#pragma once

#include <bit>

#include "optimizers/kernels/flat_moments.cuh"
#include "optimizers/kernels/flat_step.hpp"

namespace blockwise::kernels {
namespace {

// How far a step goes: w <- decay w - size direction.
struct Pace {
  float size, decay;
};

// A rule has direction(g', m, denominator), which steps m, its rate, and whether it has m and v.
struct AdamRule {
  static constexpr bool kHasBuffer = true;
  static constexpr bool kHasMoment = true;
  AdamStep step;

  __device__ float learning_rate() const { return step.step_size; }
  __device__ float direction(float g, float& m, float denominator) const {
    m = fmaf(step.beta1, m, step.one_minus_beta1 * g);
    return m / denominator;
  }
};

struct LionRule {
  static constexpr bool kHasBuffer = true;
  static constexpr bool kHasMoment = false;
  AdamStep step;

  __device__ float learning_rate() const { return step.step_size; }
  __device__ float direction(float g, float& m, float) const {
    const float average = fmaf(step.one_minus_beta1, g, step.beta1 * m);
    m = fmaf(step.one_minus_beta2, g, step.beta2 * m);
    return static_cast<float>((average > 0.0f) - (average < 0.0f));
  }
};

struct MomentumRule {
  static constexpr bool kHasBuffer = true;
  static constexpr bool kHasMoment = false;
  SgdStep step;

  __device__ float learning_rate() const { return step.learning_rate; }
  __device__ float direction(float g, float& m, float) const {
    m = fmaf(step.momentum, m, g);
    return step.nesterov ? fmaf(step.momentum, m, g) : m;
  }
};

struct DescentRule {
  static constexpr bool kHasBuffer = false;
  static constexpr bool kHasMoment = false;
  SgdStep step;

  __device__ float learning_rate() const { return step.learning_rate; }
  __device__ float direction(float g, float&, float) const { return g; }
};

// Of a NaN the one that LibTorch makes.
__device__ std::uint16_t bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>(x == x ? nearest : 0x7fc0u);
}

// One piece's update; everything that its elements have in common.
template <class Rule, bool kCopies>
struct PieceUpdate {
  Rule rule;
  Piece piece;
  FlatBuffers x;
  float scale;
  double mean_r;  // of factored moments

  __device__ Pace pace(float rate) const {
    const float decay = piece.is(Piece::decays) ? rule.step.decay : 1.0f;
    const float shrink = piece.is(Piece::decays) ? rule.step.shrink : 0.0f;
    if (piece.is(Piece::rate_of_step)) return {rule.learning_rate(), decay};
    return {rate * rule.learning_rate(), fmaf(-rate, shrink, 1.0f)};
  }

  // Returns (w_new - w_old)^2.
  __device__ float move(float& w, float g, float& m, float denominator, Pace pace) const {
    const float old = w;
    w = fmaf(-pace.size, rule.direction(scale * g, m, denominator), pace.decay * old);
    return (w - old) * (w - old);
  }

  __device__ float denominator(float root, float root_scale) const {
    return fmaf(root, root_scale, rule.step.eps);
  }

  // Steps an element's own v; returns its denominator.
  __device__ float own_denominator(float g, float& v) const {
    const float scaled = scale * g;
    v = fmaf(rule.step.beta2, v, rule.step.one_minus_beta2 * (scaled * scaled));
    return denominator(sqrtf(v), rule.step.inverse_root_bias);
  }

  // The denominator of a segment that has one.
  __device__ float segment_denominator(int segment) const {
    if constexpr (Rule::kHasMoment) {
      if (piece.is(Piece::no_moment)) return 1.0f;
      return denominator(sqrtf(x.v[piece.value + segment]), rule.step.inverse_root_bias);
    } else {
      return 1.0f;
    }
  }

  __device__ void write(std::int64_t at, float w) const {
    x.w[at] = w;
    if constexpr (kCopies) x.copies[at] = bfloat16(w);
  }
  __device__ void write4(std::int64_t at, float4 w) const {
    store4(x.w + at, w);
    if constexpr (kCopies) {
      const ushort4 copies = {bfloat16(w.x), bfloat16(w.y), bfloat16(w.z), bfloat16(w.w)};
      *reinterpret_cast<ushort4*>(x.copies + at) = copies;
    }
  }

  // The element at `at`; where each has a v of its own, that is number `v_at`.
  __device__ float one(std::int64_t at, std::int64_t v_at, float denominator, Pace pace) const {
    const float g = x.g[at];
    if constexpr (Rule::kHasMoment) {
      if (piece.is(Piece::per_element)) denominator = own_denominator(g, x.v[v_at]);
    }
    float m = 0.0f;
    if constexpr (Rule::kHasBuffer) m = x.m[at];
    float w = x.w[at];
    const float moved = move(w, g, m, denominator, pace);
    write(at, w);
    if constexpr (Rule::kHasBuffer) x.m[at] = m;
    return moved;
  }

  // Four elements with one denominator.
  __device__ float four(std::int64_t at, float denominator, Pace pace) const {
    float4 w = load4(x.w + at), m = {};
    const float4 g = load4(x.g + at);
    if constexpr (Rule::kHasBuffer) m = load4(x.m + at);
    float moved = move(w.x, g.x, m.x, denominator, pace);
    moved += move(w.y, g.y, m.y, denominator, pace);
    moved += move(w.z, g.z, m.z, denominator, pace);
    moved += move(w.w, g.w, m.w, denominator, pace);
    write4(at, w);
    if constexpr (Rule::kHasBuffer) store4(x.m + at, m);
    return moved;
  }

  // Four elements with a v each, which is aligned as they are.
  __device__ float four_moments(std::int64_t at, std::int64_t v_at, Pace pace) const {
    float4 w = load4(x.w + at), m = load4(x.m + at), v = load4(x.v + v_at);
    const float4 g = load4(x.g + at);
    float moved = move(w.x, g.x, m.x, own_denominator(g.x, v.x), pace);
    moved += move(w.y, g.y, m.y, own_denominator(g.y, v.y), pace);
    moved += move(w.z, g.z, m.z, own_denominator(g.z, v.z), pace);
    moved += move(w.w, g.w, m.w, own_denominator(g.w, v.w), pace);
    store4(x.v + v_at, v);
    write4(at, w);
    store4(x.m + at, m);
    return moved;
  }

  // Elements one by one: v is not aligned as they are, or each has a rate.
  __device__ float single_elements() const {
    float moved = 0.0f;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < piece.length; i += kThreads) {
      const float rate = piece.is(Piece::rate_per_element) ? x.rates[piece.rate + i]
                         : piece.is(Piece::rate_of_step)   ? 1.0f
                                                           : x.rates[piece.rate];
      moved += one(piece.begin + i, piece.value + i, 1.0f, pace(rate));
    }
    return moved;
  }

  __device__ float rate_of_segment(int segment) const {
    if (piece.is(Piece::rate_of_step)) return 1.0f;
    return x.rates[piece.rate + (piece.is(Piece::rate_per_tile) ? segment : 0)];
  }

  __device__ float segment(int number, const Team& team) const {
    const auto first = static_cast<std::int64_t>(number) * piece.length;
    const auto begin = piece.begin + first, v_begin = piece.value + first;
    const Quads quads(begin, piece.length);
    const Pace pace = this->pace(rate_of_segment(number));
    const bool own = Rule::kHasMoment && piece.is(Piece::per_element);
    const float denominator = own ? 0.0f : segment_denominator(number);
    float moved = 0.0f;
    if constexpr (Rule::kHasMoment) {
      if (own) {
#pragma unroll 1
        for (int q = team.lane; q < quads.count; q += team.size) {
          moved += four_moments(begin + quads.first(q), v_begin + quads.first(q), pace);
        }
      }
    }
    if (!own) {
#pragma unroll 1
      for (int q = team.lane; q < quads.count; q += team.size) {
        moved += four(begin + quads.first(q), denominator, pace);
      }
    }
    const int edge = quads.edge(team.lane, piece.length);
    if (edge >= 0) moved += one(begin + edge, v_begin + edge, denominator, pace);
    return moved;
  }

  __device__ double segments() const {
    const bool apart =
        Rule::kHasMoment && piece.is(Piece::per_element) && ((piece.value - piece.begin) & 3) != 0;
    if (piece.is(Piece::rate_per_element) || apart) {
      return single_elements();
    }
    const Team team(piece.length);
    double moved = 0.0;
    for (int number = team.number; number < piece.count; number += team.count) {
      moved += segment(number, team);
    }
    return moved;
  }

  // sqrt(v) of a column, or of factored moments sqrt(c / mean(r)); 0 where all of r is.
  __device__ float column_root(int column) const {
    if constexpr (!Rule::kHasMoment) {
      return 1.0f;
    } else {
      if (piece.is(Piece::no_moment)) return 1.0f;
      const float v = x.v[piece.value + (piece.first_column + column) / piece.tile_columns];
      if (!piece.is(Piece::factored)) return sqrtf(v);
      return mean_r > 0.0 ? static_cast<float>(sqrt(v / mean_r)) : 0.0f;
    }
  }

  __device__ float column_rate(int column) const {
    if (piece.is(Piece::rate_of_step)) return 1.0f;
    if (!piece.is(Piece::rate_per_tile)) return x.rates[piece.rate];
    return x.rates[piece.rate + (piece.first_column + column) / piece.tile_columns];
  }

  // The root's factor in a row of a strip.
  __device__ float row_scale(int row) const {
    if constexpr (!Rule::kHasMoment) {
      return 1.0f;
    } else {
      const float bias = rule.step.inverse_root_bias;
      return piece.is(Piece::factored) ? sqrtf(x.v[piece.row_value + row]) * bias : bias;
    }
  }

  __device__ float strip_denominator(float root, float root_scale) const {
    if constexpr (!Rule::kHasMoment) {
      return 1.0f;
    } else {
      return piece.is(Piece::no_moment) ? 1.0f : denominator(root, root_scale);
    }
  }

  // Columns thread, thread + kThreads, ... with their roots and rates in registers; every load of a
  // row comes before its first store.
  __device__ double strip() const {
    if (Rule::kHasMoment && piece.is(Piece::per_element)) return strip_of_elements();
    float roots[kColumnsPerThread] = {};
    float rates[kColumnsPerThread] = {};
    for_columns([&](int k, int column) {
      roots[k] = column_root(column);
      rates[k] = column_rate(column);
    });
    double moved = 0.0;
#pragma unroll 1
    for (int row = 0; row < piece.count; ++row) moved += strip_row(row, roots, rates);
    return moved;
  }

  __device__ float strip_row(int row, const float* roots, const float* rates) const {
    const std::int64_t first = piece.begin + row * piece.stride;
    const float root_scale = row_scale(row);
    float w[kColumnsPerThread], g[kColumnsPerThread], m[kColumnsPerThread] = {};
    for_columns([&](int k, int column) {
      w[k] = x.w[first + column];
      g[k] = x.g[first + column];
      if constexpr (Rule::kHasBuffer) m[k] = x.m[first + column];
    });
    float moved = 0.0f;
    for_columns([&](int k, int column) {
      const float d = strip_denominator(roots[k], root_scale);
      moved += move(w[k], g[k], m[k], d, pace(rates[k]));
      write(first + column, w[k]);
      if constexpr (Rule::kHasBuffer) x.m[first + column] = m[k];
    });
    return moved;
  }

  // A v per element, and rates by tiles.
  __device__ double strip_of_elements() const {
    double moved = 0.0;
    for (int column = static_cast<int>(threadIdx.x); column < piece.length; column += kThreads) {
      const Pace pace = this->pace(column_rate(column));
#pragma unroll 1
      for (int row = 0; row < piece.count; ++row) {
        const auto at = row * piece.stride + column;
        moved += one(piece.begin + at, piece.value + at, 1.0f, pace);
      }
    }
    return moved;
  }

  template <typename Body>
  __device__ void for_columns(const Body& body) const {
#pragma unroll
    for (int k = 0; k < kColumnsPerThread; ++k) {
      const int column = static_cast<int>(threadIdx.x) + k * kThreads;
      if (column < piece.length) body(k, column);
    }
  }
};

// One block per piece. Nothing is changed where the gradient is not finite. Three blocks of a
// multiprocessor at once keep 36 KB of loads under way; 23 KB hide the latency of an H100.
template <class Rule, bool kCopies>
__global__ void __launch_bounds__(kThreads, 3)
    update(Tables tables, Rule rule, FlatBuffers buffers, const Outcome* outcome) {
  const Piece piece = tables.pieces[blockIdx.x];
  double moved = 0.0;
  if (is_finite(*outcome) && !piece.is(Piece::rests)) {
    const double mean_r = piece.is(Piece::factored) ? tables.group_means[piece.group] : 0.0;
    const PieceUpdate<Rule, kCopies> step{rule, piece, buffers, outcome->gradient_scale, mean_r};
    moved = piece.is(Piece::strip) ? step.strip() : step.segments();
  }
  moved = block_sum(moved);
  if (threadIdx.x == 0) tables.piece_moved[blockIdx.x] = moved;
}

}  // namespace
}  // namespace blockwise::kernels
