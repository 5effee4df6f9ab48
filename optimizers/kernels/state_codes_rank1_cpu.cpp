// Codes of 4 bits with a scale per row and per column.
#define HWY_WANT_AVX3_DL 1  // has permutations of bytes; Highway before 1.0.7 leaves it out

#include <vector>

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

// The largest sizes of a part's rows and the largest values of its columns.
void FindLargest(const float* x, std::int64_t stride, const CodeShape& part, float* of_rows,
                 float* of_columns) {
  const Floats d;
  std::fill_n(of_columns, part.columns, 0.0F);
  for (std::int64_t i = 0; i < part.rows; ++i) {
    const float* row = x + i * stride;
    auto most = hn::Zero(d);
    std::int64_t j = 0;
    for (; j + float_lanes() <= part.columns; j += float_lanes()) {
      const auto v = hn::LoadU(d, row + j);
      most = hn::Max(hn::Abs(v), most);
      hn::StoreU(hn::Max(v, hn::LoadU(d, of_columns + j)), d, of_columns + j);
    }
    of_rows[i] = hn::GetLane(hn::MaxOfLanes(d, most));
    for (; j < part.columns; ++j) {
      of_rows[i] = std::max(of_rows[i], std::abs(row[j]));
      of_columns[j] = std::max(of_columns[j], row[j]);
    }
  }
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

HWY_EXPORT(FindLargest);
HWY_EXPORT(EncodeRank1);
HWY_EXPORT(DecodeRank1);

namespace {

// to_i <- the largest of so many rows' i-th values.
void largest_of_rows(const std::vector<float>& x, std::int64_t n, float* to) {
  std::copy_n(x.begin(), n, to);
  for (auto row = x.begin() + n; row != x.end(); row += n) {
    std::transform(row, row + n, to, to, [](float a, float b) { return std::max(a, b); });
  }
}

// Of parts of 64 rows and 4096 columns, one pass over x; then of the parts.
void find_scales(const float* x, const CodeShape& shape, const RankOneCodes& stored) {
  constexpr std::int64_t kRows = 64, kColumns = 4096;
  const auto bands = (shape.rows + kRows - 1) / kRows;
  const auto runs = (shape.columns + kColumns - 1) / kColumns;
  std::vector<float> of_rows(static_cast<std::size_t>(runs * shape.rows));
  std::vector<float> of_columns(static_cast<std::size_t>(bands * shape.columns));
  parallel_loop(bands * runs, bands * runs > 1, [&](std::int64_t part) {
    const auto row = part / runs * kRows, run = part % runs, column = run * kColumns;
    HWY_DYNAMIC_DISPATCH(FindLargest)
    (x + row * shape.columns + column, shape.columns,
     {std::min(kRows, shape.rows - row), std::min(kColumns, shape.columns - column)},
     of_rows.data() + run * shape.rows + row,
     of_columns.data() + part / runs * shape.columns + column);
  });
  largest_of_rows(of_rows, shape.rows, stored.rows);
  largest_of_rows(of_columns, shape.columns, stored.columns);
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
