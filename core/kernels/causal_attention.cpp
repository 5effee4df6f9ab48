#include "core/kernels/causal_attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/attention_blocks.hpp"

// Vectors without a size known to the compiler cannot lie in a tile's array.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/causal_attention.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

#include <hwy/cache_control.h>
#include <hwy/contrib/math/math-inl.h>

#include "core/kernels/float_vectors.hpp"
#include "core/kernels/small_product.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kAhead = 16;  // rows from one that is read to one that is fetched
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::int64_t lane_count() { return static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>())); }

// 2^n exp(r) with n = round(x / log 2), for x <= 0 but for rounding: right to 2 ULP, 0 below the
// normal numbers. Two thirds of hn::Exp's operations; and NaN, of which that makes 0, stays NaN.
template <class D>
hn::Vec<D> exponential(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> whole;
  const auto n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504F)));
  // log 2 in two parts, the first of so few bits that its product with n is exact.
  auto r = hn::MulAdd(n, hn::Set(d, -0.693145751953125F), x);
  r = hn::MulAdd(n, hn::Set(d, -1.428606765330187e-6F), r);
  // 1 + r + r^2 (1/2 + r/6 + ..), with the coefficients of hn::Exp.
  const auto square = hn::Mul(r, r);
  const auto low = hn::MulAdd(r, hn::Set(d, 0.166666671633720F), hn::Set(d, 0.5F));
  const auto middle = hn::MulAdd(r, hn::Set(d, 0.00833336077630520F), hn::Set(d, 0.0416664853692F));
  const auto high = hn::MulAdd(r, hn::Set(d, 0.000198527617612854F), hn::Set(d, 0.00139304355253F));
  const auto series = hn::MulAdd(hn::MulAdd(high, square, middle), square, low);
  const auto y = hn::Add(hn::MulAdd(series, square, r), hn::Set(d, 1.0F));
  const auto exponent = hn::ConvertTo(whole, hn::Add(n, hn::Set(d, 127.0F)));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0F)), hn::Mul(y, power));
}

// ---- rows in and out ---------------------------------------------------------------------------

template <class D, class Body>
HWY_INLINE void over(D d, std::int64_t n, const Body& body) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) body(d, std::min(i, n - lanes));
}

// Calls body(d, i) until all of [0, n) was in a vector from i on, some of it in two: what follows
// one element by one would take longer than the rest.
template <class Body>
HWY_INLINE void over(std::int64_t n, const Body& body) {
  const hn::ScalableTag<float> wide;
  const hn::CappedTag<float, 4> narrow;
  if (n >= static_cast<std::int64_t>(hn::Lanes(wide))) return over(wide, n, body);
  if (n >= static_cast<std::int64_t>(hn::Lanes(narrow))) return over(narrow, n, body);
  over(hn::CappedTag<float, 1>(), n, body);
}

// A head's rows lie far from each other, where the processor's own foresight ends.
template <class T>
void prefetch(const T* row, std::int64_t width) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < width; i += kLine) hwy::Prefetch(row + i);
  hwy::Prefetch(row + width - 1);
}

// Rows [first, first + count) of a head that has `length`.
template <class T>
void prefetch(const HeadRows<T>& x, std::int64_t head, std::int64_t first, std::int64_t count,
              const AttentionSizes& sizes) {
  const auto end = std::min(first + count, sizes.length);
  for (auto i = first; i < end; ++i) prefetch(x.data + head * x.head + i * x.row, sizes.width);
}

// One vector of a head as float32, times a factor. Returns whether all of it is finite.
template <class T>
bool pack(const T* x, std::int64_t width, float factor, float* packed) {
  bool finite = true;
  over(width, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto y = hn::Mul(load(d, x + i), hn::Set(d, factor));
    finite &= hn::AllTrue(d, hn::IsFinite(y));
    hn::StoreU(y, d, packed + i);
  });
  return finite;
}

template <class T>
void unpack(const float* packed, std::int64_t width, float factor, T* x) {
  over(width, [&](auto d, std::int64_t i) HWY_ATTR {
    store(hn::Mul(hn::LoadU(d, packed + i), hn::Set(d, factor)), d, x + i);
  });
}

float dot(const float* a, const float* b, std::int64_t padded) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  for (std::int64_t i = 0; i < padded; i += lane_count()) {
    sum = hn::MulAdd(hn::Load(d, a + i), hn::Load(d, b + i), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Rows of a packed matrix: `width` numbers, and zeros up to the vectors' width.
struct Packed {
  float* data;
  std::int64_t width, row;
  float* at(std::int64_t i) const { return data + i * row; }
  void clear(std::int64_t begin, std::int64_t end) const { std::fill(at(begin), at(end), 0.0F); }
  void fill(std::int64_t i, float value) const { std::fill(at(i), at(i) + width, value); }
};

// Rows [begin, end) of a head times a factor, zeros up to `padded` rows. With `poisons` a row that
// is not finite becomes NaN as a whole, so that none of its scores is finite.
template <class T>
void pack_rows(const T* x, std::int64_t row, Range rows, std::int64_t padded, float factor,
               bool poisons, const Packed& packed) {
  for (auto i = rows.begin; i < rows.end; ++i) {
    const bool finite = pack(x + i * row, packed.width, factor, packed.at(i - rows.begin));
    if (poisons && !finite) packed.fill(i - rows.begin, kNan);
  }
  packed.clear(rows.end - rows.begin, padded);
}

// rows [kPanel, row] -> panel [width up to a multiple of 4, kPanel], four by four.
#if HWY_TARGET == HWY_SCALAR
void transpose(const float* rows, std::int64_t row, std::int64_t width, float* panel) {
  for (std::int64_t i = 0; i < width; ++i) {
    for (std::int64_t j = 0; j < kPanel; ++j) panel[i * kPanel + j] = rows[j * row + i];
  }
}
#else
void transpose_four(const float* rows, std::int64_t row, float* panel) {
  const hn::FixedTag<float, 4> d;
  const auto a = hn::Load(d, rows), b = hn::Load(d, rows + row);
  const auto c = hn::Load(d, rows + 2 * row), e = hn::Load(d, rows + 3 * row);
  const auto low = hn::InterleaveLower(d, a, c), other_low = hn::InterleaveLower(d, b, e);
  const auto high = hn::InterleaveUpper(d, a, c), other_high = hn::InterleaveUpper(d, b, e);
  hn::Store(hn::InterleaveLower(d, low, other_low), d, panel);
  hn::Store(hn::InterleaveUpper(d, low, other_low), d, panel + kPanel);
  hn::Store(hn::InterleaveLower(d, high, other_high), d, panel + 2 * kPanel);
  hn::Store(hn::InterleaveUpper(d, high, other_high), d, panel + 3 * kPanel);
}

void transpose(const float* rows, std::int64_t row, std::int64_t width, float* panel) {
  for (std::int64_t j = 0; j < kPanel; j += 4) {
    for (std::int64_t i = 0; i < width; i += 4) {
      transpose_four(rows + j * row + i, row, panel + i * kPanel + j);
    }
  }
}
#endif

// Keys and values [first, first + kPanel), zeros beyond the last. Where either is not finite the
// key becomes NaN as a whole and the value 0: the scores of those that see it are NaN, and 0 times
// the value is 0 for those that do not.
template <class T>
void pack_keys(const HeadRows<const T>& k, const HeadRows<const T>& v, std::int64_t first,
               std::int64_t length, const Packed& keys, const Packed& values) {
  const auto count = std::min(kPanel, length - first);
  for (std::int64_t j = 0; j < count; ++j) {
    const auto later = std::min(first + j + kAhead, length - 1);
    prefetch(k.data + later * k.row, keys.width);
    prefetch(v.data + later * v.row, keys.width);
    const bool is_key = pack(k.data + (first + j) * k.row, keys.width, 1.0F, keys.at(j));
    const bool is_value = pack(v.data + (first + j) * v.row, keys.width, 1.0F, values.at(j));
    if (is_key && is_value) continue;
    keys.fill(j, kNan);
    values.fill(j, 0.0F);
  }
  keys.clear(count, kPanel);
  values.clear(count, kPanel);
}

// ---- rows of scores ----------------------------------------------------------------------------

// Columns of scores are computed in multiples of this: then a row's own, aligned, are all that the
// tiles of a product see of it, but for those before them.
std::int64_t score_unit() { return std::max<std::int64_t>(lane_count(), kTileRows); }

// -inf in [all.begin, all.end) outside `seen`.
void hide(float* scores, Range seen, Range all) {
  const hn::ScalableTag<float> d;
  const auto lanes = lane_count();
  const auto nothing = hn::Set(d, -kInfinity);
  for (auto i = seen.end / lanes * lanes; i < all.end; i += lanes) {
    const auto kept =
        hn::FirstN(d, static_cast<std::size_t>(std::max<std::int64_t>(0, seen.end - i)));
    hn::Store(hn::IfThenElse(kept, hn::Load(d, scores + i), nothing), d, scores + i);
  }
  for (auto i = all.begin; i < seen.begin; i += lanes) {
    const auto hidden = hn::FirstN(d, static_cast<std::size_t>(seen.begin - i));
    hn::Store(hn::IfThenElse(hidden, nothing, hn::Load(d, scores + i)), d, scores + i);
  }
}

float largest(const float* scores, Range range, float most) {
  const hn::ScalableTag<float> d;
  auto largest = hn::Set(d, most);
  for (auto i = range.begin; i < range.end; i += lane_count()) {
    largest = hn::Max(largest, hn::Load(d, scores + i));
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// Scores become exp(score - most); returns their sum, NaN where one was not a number.
float exponentials(float* scores, Range range, float most) {
  const hn::ScalableTag<float> d;
  const auto shift = hn::Set(d, most);
  auto sum = hn::Zero(d);
  for (auto i = range.begin; i < range.end; i += lane_count()) {
    const auto p = exponential(d, hn::Sub(hn::Load(d, scores + i), shift));
    hn::Store(p, d, scores + i);
    sum = hn::Add(sum, p);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void scale(float* row, std::int64_t padded, float factor) {
  const hn::ScalableTag<float> d;
  for (std::int64_t i = 0; i < padded; i += lane_count()) {
    hn::Store(hn::Mul(hn::Load(d, row + i), hn::Set(d, factor)), d, row + i);
  }
}

void clear(float* row, Range range) {
  const hn::ScalableTag<float> d;
  for (auto i = range.begin; i < range.end; i += lane_count()) hn::Store(hn::Zero(d), d, row + i);
}

// ---- forward -----------------------------------------------------------------------------------

template <class T>
class Forward {
 public:
  Forward(const AttentionForward<T>& task, const AttentionSizes& sizes, float* scratch)
      : task_(task), sizes_(sizes), sight_{sizes.window}, s_(sizes, ScratchParts(scratch)) {
    if (sizes.width != s_.padded.width) std::fill(scratch, scratch + s_.packed_floats, 0.0F);
  }

  void run() {
    prefetch(task_.q, 0, 0, kForwardRows, sizes_);
    const auto rows = packed(s_.rows), v = packed(s_.v);
    for (std::int64_t first = 0; first < sizes_.length; first += kPanel) {
      pack_keys(task_.k, task_.v, first, sizes_.length, rows, {v.at(first), v.width, v.row});
      transpose(s_.rows, s_.padded.width, sizes_.width, panel(first));
    }
    for (std::int64_t head = 0; head < sizes_.heads; ++head) {
      for (std::int64_t first = 0; first < sizes_.length; first += kForwardRows) {
        queries(head, first, std::min(kForwardRows, sizes_.length - first));
      }
    }
  }

 private:
  Packed packed(float* data) const { return {data, sizes_.width, s_.padded.width}; }
  float* panel(std::int64_t key) const { return s_.k_panels + key / kPanel * s_.padded.panel; }

  void queries(std::int64_t head, std::int64_t first, std::int64_t count) {
    const auto rows = whole(count, kTileRows);
    pack_rows(task_.q.data + head * task_.q.head, task_.q.row, {first, first + count}, rows,
              1.0F / std::sqrt(static_cast<float>(sizes_.width)), true, packed(s_.q));
    prefetch(task_.out, head, first, count, sizes_);
    prefetch(task_.q, head, first + kForwardRows, kForwardRows, sizes_);
    std::fill(s_.most, s_.most + rows, -kInfinity);
    std::fill(s_.sums, s_.sums + rows, 0.0F);
    const auto seen = sight_.keys(first, rows);
    const auto begin = seen.begin / kPanel * kPanel;
    for (auto key = begin; key < seen.end; key += kStrip) strip(first, rows, key, key == begin);
    finish(head, first, count);
  }

  void strip(std::int64_t first, std::int64_t rows, std::int64_t key, bool is_first) {
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const auto seen = sight_.keys(first + r, kTileRows).within(key, kStrip);
      if (seen.is_empty()) continue;
      const auto columns = seen.aligned(score_unit());
      score(r, columns, key);
      for (auto i = r; i < r + kTileRows; ++i) {
        weigh(i, sight_.keys(first + i, 1).within(key, kStrip), columns, is_first);
      }
      const LeftFactor p{s_.scores + r * s_.padded.strip + seen.begin, s_.padded.strip, 1};
      const auto product = is_first ? product_of_rows<Into::nothing> : product_of_rows<Into::sum>;
      product(p, s_.v + (key + seen.begin) * s_.padded.width, s_.padded.width,
              seen.end - seen.begin, s_.out + r * s_.padded.width, s_.padded.width, sizes_.width);
    }
  }

  // A tile's rows of q k^T, panel by panel.
  void score(std::int64_t r, Range columns, std::int64_t key) {
    const LeftFactor q{s_.q + r * s_.padded.width, s_.padded.width, 1};
    float* scores = s_.scores + r * s_.padded.strip;
    for (auto begin = columns.begin / kPanel * kPanel; begin < columns.end; begin += kPanel) {
      const auto part = columns.within(begin, kPanel);
      product_of_rows<Into::nothing>(q, panel(key + begin) + part.begin, kPanel, sizes_.width,
                                     scores + begin + part.begin, s_.padded.strip,
                                     part.end - part.begin);
    }
  }

  // A row's scores become exp(score - most so far), and zeros where it is its tile that sees.
  void weigh(std::int64_t i, Range seen, Range columns, bool is_first) {
    float* row = s_.scores + i * s_.padded.strip;
    if (seen.is_empty()) return clear(row, columns);
    const auto range = seen.aligned(score_unit());
    hide(row, seen, range);
    clear(row, {columns.begin, range.begin});
    const float most = largest(row, range, s_.most[i]);
    const float sum = exponentials(row, range, most);
    if (!is_first) {
      const float kept = std::exp(s_.most[i] - most);
      s_.sums[i] *= kept;
      scale(s_.out + i * s_.padded.width, s_.padded.width, kept);
    }
    s_.most[i] = most;
    s_.sums[i] += sum;
  }

  void finish(std::int64_t head, std::int64_t first, std::int64_t count) {
    auto* out = task_.out.data + head * task_.out.head + first * task_.out.row;
    float* log_sums = task_.log_sums + head * sizes_.length + first;
    for (std::int64_t i = 0; i < count; ++i) {
      unpack(s_.out + i * s_.padded.width, sizes_.width, 1.0F / s_.sums[i],
             out + i * task_.out.row);
    }
    over(count, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto sum = hn::LoadU(d, s_.sums + i);
      const auto log = hn::IfThenElse(hn::IsNaN(sum), sum, hn::Log(d, sum));
      hn::StoreU(hn::Add(hn::LoadU(d, s_.most + i), log), d, log_sums + i);
    });
  }

  const AttentionForward<T>& task_;
  const AttentionSizes& sizes_;
  Sight sight_;
  ForwardScratch s_;
};

// ---- backward ----------------------------------------------------------------------------------

template <class T>
class Backward {
 public:
  Backward(const AttentionBackward<T>& task, const AttentionSizes& sizes, float* scratch)
      : task_(task),
        sizes_(sizes),
        sight_{sizes.window},
        factor_(1.0F / std::sqrt(static_cast<float>(sizes.width))),
        s_(sizes, ScratchParts(scratch)) {
    if (sizes.width != s_.padded.width) std::fill(scratch, scratch + s_.packed_floats, 0.0F);
  }

  void run() {
    const auto step = s_.padded.width;
    prefetch_block(0, 0);
    for (std::int64_t first = 0; first < sizes_.length; first += kPanel) {
      pack_keys(task_.k, task_.v, first, sizes_.length, packed(s_.k + first * step),
                packed(s_.rows));
      transpose(s_.k + first * step, step, sizes_.width, panel(s_.k_panels, first));
      transpose(s_.rows, step, sizes_.width, panel(s_.v_panels, first));
    }
    std::fill(s_.dk, s_.dk + s_.padded.keys * step, 0.0F);
    std::fill(s_.dv, s_.dv + s_.padded.keys * step, 0.0F);
    for (std::int64_t head = 0; head < sizes_.heads; ++head) {
      for (std::int64_t first = 0; first < sizes_.length; first += kBackwardRows) {
        queries(head, first, std::min(kBackwardRows, sizes_.length - first));
      }
    }
    for (std::int64_t j = 0; j < sizes_.length; ++j) {
      unpack(s_.dk + j * step, sizes_.width, 1.0F, task_.dk.data + j * task_.dk.row);
      unpack(s_.dv + j * step, sizes_.width, 1.0F, task_.dv.data + j * task_.dv.row);
    }
  }

 private:
  static constexpr auto kScores = BackwardScratch::kScores;

  Packed packed(float* data) const { return {data, sizes_.width, s_.padded.width}; }
  float* panel(float* panels, std::int64_t key) const {
    return panels + key / kPanel * s_.padded.panel;
  }

  void queries(std::int64_t head, std::int64_t first, std::int64_t count) {
    const auto rows = whole(count, kTileRows);
    pack_block(head, {first, first + count}, rows);
    prefetch(task_.dq, head, first, count, sizes_);
    prefetch_block(head, first + kBackwardRows);
    std::fill(s_.dq, s_.dq + rows * s_.padded.width, 0.0F);
    const auto seen = sight_.keys(first, rows);
    for (auto key = seen.begin / kPanel * kPanel; key < seen.end; key += kPanel) {
      slopes_of_scores(first, rows, key);
      add_to_keys(first, rows, key);
      add_to_queries(first, rows, key);
    }
    auto* dq = task_.dq.data + head * task_.dq.head + first * task_.dq.row;
    for (std::int64_t i = 0; i < count; ++i) {
      unpack(s_.dq + i * s_.padded.width, sizes_.width, factor_, dq + i * task_.dq.row);
    }
  }

  void prefetch_block(std::int64_t head, std::int64_t first) {
    for (const auto* x : {&task_.q, &task_.out, &task_.slope}) {
      prefetch(*x, head, first, kBackwardRows, sizes_);
    }
  }

  // The rows beyond `block` have slope 0, which makes everything that follows from them 0.
  void pack_block(std::int64_t head, Range block, std::int64_t rows) {
    const auto step = s_.padded.width;
    const auto &q = task_.q, &out = task_.out, &slope = task_.slope;
    pack_rows(q.data + head * q.head, q.row, block, rows, factor_, true, packed(s_.q));
    pack_rows(slope.data + head * slope.head, slope.row, block, rows, 1.0F, false,
              packed(s_.slope));
    pack_rows(out.data + head * out.head, out.row, block, rows, 1.0F, false, packed(s_.out));
    for (std::int64_t i = 0; i < rows; ++i) {
      s_.means[i] = dot(s_.out + i * step, s_.slope + i * step, step);
    }
    std::fill(s_.log_sums, s_.log_sums + rows, 0.0F);
    const float* log_sums = task_.log_sums + head * sizes_.length;
    std::copy(log_sums + block.begin, log_sums + block.end, s_.log_sums);
  }

  // p and ds of the block, zeros where nothing is seen.
  void slopes_of_scores(std::int64_t first, std::int64_t rows, std::int64_t key) {
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const auto columns =
          sight_.keys(first + r, kTileRows).within(key, kPanel).aligned(score_unit());
      if (columns.is_empty()) continue;
      multiply(s_.q, s_.k_panels, r, columns, key, s_.p);
      multiply(s_.slope, s_.v_panels, r, columns, key, s_.ds);
      for (auto i = r; i < r + kTileRows; ++i) {
        slopes_of_row(i, sight_.keys(first + i, 1).within(key, kPanel), columns);
      }
    }
  }

  void multiply(const float* left, float* panels, std::int64_t r, Range columns, std::int64_t key,
                float* scores) {
    product_of_rows<Into::nothing>({left + r * s_.padded.width, s_.padded.width, 1},
                                   panel(panels, key) + columns.begin, kPanel, sizes_.width,
                                   scores + r * kScores + columns.begin, kScores,
                                   columns.end - columns.begin);
  }

  void slopes_of_row(std::int64_t i, Range seen, Range columns) {
    const hn::ScalableTag<float> d;
    float *p = s_.p + i * kScores, *ds = s_.ds + i * kScores;
    const auto range =
        seen.is_empty() ? Range{columns.end, columns.end} : seen.aligned(score_unit());
    clear(p, {columns.begin, range.begin});
    clear(ds, {columns.begin, range.begin});
    if (seen.is_empty()) return;
    hide(p, seen, range);
    const auto shift = hn::Set(d, s_.log_sums[i]), mean = hn::Set(d, s_.means[i]);
    for (auto j = range.begin; j < range.end; j += lane_count()) {
      const auto weight = exponential(d, hn::Sub(hn::Load(d, p + j), shift));
      hn::Store(weight, d, p + j);
      hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, ds + j), mean)), d, ds + j);
    }
  }

  // dv += p^T d and dk += ds^T q, of the keys from `key` on.
  void add_to_keys(std::int64_t first, std::int64_t rows, std::int64_t key) {
    const auto step = s_.padded.width;
    for (std::int64_t j = 0; j < kPanel; j += kTileRows) {
      const auto seen = sight_.queries(key + j, kTileRows).within(first, rows);
      if (seen.is_empty()) continue;
      const auto depth = seen.end - seen.begin;
      const auto at = seen.begin * kScores + j;
      product_of_rows<Into::sum>({s_.p + at, 1, kScores}, s_.slope + seen.begin * step, step, depth,
                                 s_.dv + (key + j) * step, step, sizes_.width);
      product_of_rows<Into::sum>({s_.ds + at, 1, kScores}, s_.q + seen.begin * step, step, depth,
                                 s_.dk + (key + j) * step, step, sizes_.width);
    }
  }

  // dq += ds k
  void add_to_queries(std::int64_t first, std::int64_t rows, std::int64_t key) {
    const auto step = s_.padded.width;
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const auto seen = sight_.keys(first + r, kTileRows).within(key, kPanel);
      if (seen.is_empty()) continue;
      product_of_rows<Into::sum>({s_.ds + r * kScores + seen.begin, kScores, 1},
                                 s_.k + (key + seen.begin) * step, step, seen.end - seen.begin,
                                 s_.dq + r * step, step, sizes_.width);
    }
  }

  const AttentionBackward<T>& task_;
  const AttentionSizes& sizes_;
  Sight sight_;
  float factor_;
  BackwardScratch s_;
};

void forward_f32(const AttentionForward<float>& task, const AttentionSizes& sizes, float* scratch) {
  Forward<float>(task, sizes, scratch).run();
}
void forward_bf16(const AttentionForward<std::uint16_t>& task, const AttentionSizes& sizes,
                  float* scratch) {
  Forward<std::uint16_t>(task, sizes, scratch).run();
}
void backward_f32(const AttentionBackward<float>& task, const AttentionSizes& sizes,
                  float* scratch) {
  Backward<float>(task, sizes, scratch).run();
}
void backward_bf16(const AttentionBackward<std::uint16_t>& task, const AttentionSizes& sizes,
                   float* scratch) {
  Backward<std::uint16_t>(task, sizes, scratch).run();
}

}  // namespace HWY_NAMESPACE
}  // namespace blockwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_bf16);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_bf16);

std::int64_t attention_forward_scratch(const AttentionSizes& sizes) {
  return ForwardScratch(sizes, ScratchParts(nullptr)).floats;
}

std::int64_t attention_backward_scratch(const AttentionSizes& sizes) {
  return BackwardScratch(sizes, ScratchParts(nullptr)).floats;
}

void attention_forward(const AttentionForward<float>& task, const AttentionSizes& sizes,
                       float* scratch) {
  HWY_DYNAMIC_DISPATCH(forward_f32)(task, sizes, scratch);
}

void attention_forward(const AttentionForward<std::uint16_t>& task, const AttentionSizes& sizes,
                       float* scratch) {
  HWY_DYNAMIC_DISPATCH(forward_bf16)(task, sizes, scratch);
}

void attention_backward(const AttentionBackward<float>& task, const AttentionSizes& sizes,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(backward_f32)(task, sizes, scratch);
}

void attention_backward(const AttentionBackward<std::uint16_t>& task, const AttentionSizes& sizes,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(backward_bf16)(task, sizes, scratch);
}

}  // namespace blockwise
#endif
