// Codes of 4 bits with a scale per row and per column.
#define HWY_WANT_AVX3_DL 1  // has permutations of bytes; Highway before 1.0.7 leaves it out

#include "optimizers/kernels/block_loops.hpp"
#include "optimizers/kernels/state_codes.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/state_codes_rank1_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include "optimizers/kernels/code_lookups.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

float Largest(const float* x, std::int64_t n) { return largest(x, n); }

// most_j <- max(most_j, x_j)
void RaiseTo(const float* x, std::int64_t n, float* most) {
  const Floats d;
  std::int64_t j = 0;
  for (; j + float_lanes() <= n; j += float_lanes()) {
    hn::StoreU(hn::Max(hn::LoadU(d, x + j), hn::LoadU(d, most + j)), d, most + j);
  }
  for (; j < n; ++j) most[j] = std::max(most[j], x[j]);
}

// Scales of the values from number `at` on, row by row; 0 behind the matrix.
HWY_INLINE void scales_of_64(const CodeShape& shape, const RankOneCodes& stored, std::int64_t at,
                             float* scales) {
  auto row = at / shape.columns, column = at % shape.columns;
  std::int64_t i = 0;
  for (; i < kStep && row < shape.rows; ++row, column = 0) {
    const auto count = std::min(kStep - i, shape.columns - column);
    const float of_row = stored.rows[row];
    for (std::int64_t j = 0; j < count; ++j) {
      scales[i + j] = std::min(of_row, stored.columns[column + j]);
    }
    i += count;
  }
  std::fill(scales + i, scales + kStep, 0.0F);
}

// Scaling with a scale per value.
template <class D>
HWY_INLINE hn::Vec<D> scaled_by(D d, hn::Vec<D> x, hn::Vec<D> scale) {
  const auto is_zero = hn::Eq(scale, hn::Zero(d));
  const auto inverse = hn::IfThenZeroElse(is_zero, hn::Div(hn::Set(d, 1.0F), scale));
  const auto is_infinite = hn::Eq(inverse, hn::Inf(d));
  const auto product = hn::Mul(x, inverse);
  if (hn::AllFalse(d, is_infinite)) return product;
  return hn::IfThenElse(is_infinite, clamp_to_one(d, hn::Div(x, scale)), product);
}

void EncodeRank1(const CodeTable& table, const float* x, const CodeShape& shape,
                 const RankOneCodes& stored, const Piece& piece) {
  const Floats d;
  encode_steps<2>(x + piece.begin, piece.count, stored.codes + piece.begin / 2,
                  [&](std::int64_t step, const float* from, std::uint8_t* to) HWY_ATTR {
                    HWY_ALIGN float scales[kStep];
                    scales_of_64(shape, stored, piece.begin + step, scales);
                    const auto load = [&](std::int64_t i) HWY_ATTR {
                      return scaled_by(d, hn::LoadU(d, from + i), hn::Load(d, scales + i));
                    };
                    coded_64<2>(table, load, to);
                  });
}

void DecodeRank1(const NumberTable& values, const RankOneCodes& stored, const CodeShape& shape,
                 const Piece& piece, float* x) {
  const Floats d;
  decode_steps<2>(stored.codes + piece.begin / 2, piece.count, x + piece.begin,
                  [&](std::int64_t step, const std::uint8_t* from, float* to) HWY_ATTR {
                    HWY_ALIGN float scales[kStep];
                    scales_of_64(shape, stored, piece.begin + step, scales);
                    decoded_64<2>(values, from, [&](auto i, auto value) HWY_ATTR {
                      hn::StoreU(hn::Mul(value, hn::Load(d, scales + i)), d, to + i);
                    });
                  });
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(Largest);
HWY_EXPORT(RaiseTo);
HWY_EXPORT(EncodeRank1);
HWY_EXPORT(DecodeRank1);

namespace {

void find_scales(const float* x, const CodeShape& shape, const RankOneCodes& stored) {
  const auto rows = shape.rows, columns = shape.columns;
  const bool many = rows * columns > kTask;
  parallel_loop(rows, many, [&](std::int64_t i) {
    stored.rows[i] = HWY_DYNAMIC_DISPATCH(Largest)(x + i * columns, columns);
  });
  // Runs of columns, each down all rows.
  constexpr std::int64_t kRun = 256;
  parallel_loop((columns + kRun - 1) / kRun, many, [&](std::int64_t run) {
    const auto begin = run * kRun, count = std::min(kRun, columns - begin);
    std::fill_n(stored.columns + begin, count, 0.0F);
    for (std::int64_t i = 0; i < rows; ++i) {
      HWY_DYNAMIC_DISPATCH(RaiseTo)(x + i * columns + begin, count, stored.columns + begin);
    }
  });
}

}  // namespace

void encode_rank1(const CodeTable& table, const float* x, const CodeShape& shape,
                  const RankOneCodes& stored) {
  find_scales(x, shape, stored);
  over_tasks(shape.rows * shape.columns, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(EncodeRank1)(table, x, shape, stored, {begin, count});
  });
}

void decode_rank1(const CodeTable& table, const RankOneCodes& stored, const CodeShape& shape,
                  float* x) {
  over_tasks(shape.rows * shape.columns, [&](std::int64_t begin, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(DecodeRank1)(table.values(), stored, shape, {begin, count}, x);
  });
}

}  // namespace blockwise::kernels
#endif
