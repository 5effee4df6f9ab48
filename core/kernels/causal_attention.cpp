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

#include <hwy/contrib/math/math-inl.h>

#include "core/kernels/float_vectors.hpp"
#include "core/kernels/small_product.hpp"

HWY_BEFORE_NAMESPACE();
namespace blockwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::int64_t lane_count() {
  return static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
}

// hn::Exp makes 0 of NaN.
template <class D>
hn::Vec<D> exponential(D d, hn::Vec<D> x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// ---- rows in and out ---------------------------------------------------------------------------

template <class D, class Body>
std::int64_t steps(D d, std::int64_t i, std::int64_t n, const Body& body) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) body(d, i);
  return i;
}

// Calls body(d, i) over [0, n), the rest with shorter and shorter vectors.
template <class Body>
void over(std::int64_t n, const Body& body) {
  auto i = steps(hn::ScalableTag<float>(), 0, n, body);
  i = steps(hn::CappedTag<float, 8>(), i, n, body);
  i = steps(hn::CappedTag<float, 4>(), i, n, body);
  steps(hn::CappedTag<float, 1>(), i, n, body);
}

// One vector of a head as float32, times a factor.
template <class T>
void pack(const T* x, std::int64_t width, float factor, float* packed) {
  std::fill(packed + width, packed + whole(width, kMostLanes), 0.0F);
  over(width, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(load(d, x + i), hn::Set(d, factor)), d, packed + i);
  });
}

template <class T>
void unpack(const float* packed, std::int64_t width, float factor, T* x) {
  over(width, [&](auto d, std::int64_t i) HWY_ATTR {
    store(hn::Mul(hn::LoadU(d, packed + i), hn::Set(d, factor)), d, x + i);
  });
}

bool is_finite(const float* packed, std::int64_t padded) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);  // 0 times a number is 0
  for (std::int64_t i = 0; i < padded; i += lane_count()) {
    sum = hn::MulAdd(hn::Load(d, packed + i), hn::Zero(d), sum);
  }
  return hn::AllFalse(d, hn::IsNaN(sum));
}

float dot(const float* a, const float* b, std::int64_t padded) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  for (std::int64_t i = 0; i < padded; i += lane_count()) {
    sum = hn::MulAdd(hn::Load(d, a + i), hn::Load(d, b + i), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Queries [first, first + count) of a head times a factor, zeros up to `padded` rows. One that is
// not finite becomes NaN as a whole, so that no score of it is finite.
template <class T>
void pack_queries(const T* q, std::int64_t row, Range rows, std::int64_t padded, float factor,
                  std::int64_t width, float* packed) {
  const auto step = whole(width, kMostLanes);
  for (auto i = rows.begin; i < rows.end; ++i, packed += step) {
    pack(q + i * row, width, factor, packed);
    if (!is_finite(packed, step)) std::fill(packed, packed + width, kNan);
  }
  std::fill(packed, packed + (padded - (rows.end - rows.begin)) * step, 0.0F);
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

// Keys and values [first, first + kPanel), zeros beyond the last. Where either is not finite the key
// becomes NaN as a whole and the value 0: the scores of those that see it are NaN, and 0 times the
// value is 0 for those that do not.
template <class T>
void pack_keys(const HeadRows<const T>& k, const HeadRows<const T>& v, std::int64_t first,
               const AttentionSizes& sizes, float* keys, float* values) {
  const auto step = whole(sizes.width, kMostLanes);
  const auto count = std::min(kPanel, sizes.length - first);
  for (std::int64_t j = 0; j < count; ++j) {
    float *key = keys + j * step, *value = values + j * step;
    pack(k.data + (first + j) * k.row, sizes.width, 1.0F, key);
    pack(v.data + (first + j) * v.row, sizes.width, 1.0F, value);
    if (is_finite(key, step) && is_finite(value, step)) continue;
    std::fill(key, key + sizes.width, kNan);
    std::fill(value, value + sizes.width, 0.0F);
  }
  std::fill(keys + count * step, keys + kPanel * step, 0.0F);
  std::fill(values + count * step, values + kPanel * step, 0.0F);
}

// ---- rows of scores ----------------------------------------------------------------------------

// -inf in the lanes of the first and the last vector that are not seen.
void hide(float* scores, Range seen) {
  const hn::ScalableTag<float> d;
  const auto lanes = lane_count();
  const auto all = seen.aligned(lanes);
  const auto nothing = hn::Set(d, -kInfinity);
  if (all.end != seen.end) {
    float* last = scores + all.end - lanes;
    const auto kept = hn::FirstN(d, static_cast<std::size_t>(seen.end - (all.end - lanes)));
    hn::Store(hn::IfThenElse(kept, hn::Load(d, last), nothing), d, last);
  }
  if (all.begin != seen.begin) {
    float* first = scores + all.begin;
    const auto hidden = hn::FirstN(d, static_cast<std::size_t>(seen.begin - all.begin));
    hn::Store(hn::IfThenElse(hidden, nothing, hn::Load(d, first)), d, first);
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
  if (!range.is_empty()) std::fill(row + range.begin, row + range.end, 0.0F);
}

// ---- forward -----------------------------------------------------------------------------------

template <class T>
class Forward {
 public:
  Forward(const AttentionForward<T>& task, const AttentionSizes& sizes, float* scratch)
      : task_(task), sizes_(sizes), sight_{sizes.window}, s_(sizes, ScratchParts(scratch)) {}

  void run() {
    for (std::int64_t first = 0; first < sizes_.length; first += kPanel) {
      pack_keys(task_.k, task_.v, first, sizes_, s_.rows, s_.v + first * s_.padded.width);
      transpose(s_.rows, s_.padded.width, sizes_.width, panel(first));
    }
    for (std::int64_t head = 0; head < sizes_.heads; ++head) {
      for (std::int64_t first = 0; first < sizes_.length; first += kForwardRows) {
        queries(head, first, std::min(kForwardRows, sizes_.length - first));
      }
    }
  }

 private:
  float* panel(std::int64_t key) const { return s_.k_panels + key / kPanel * s_.padded.panel; }

  void queries(std::int64_t head, std::int64_t first, std::int64_t count) {
    const auto rows = whole(count, kTileRows);
    pack_queries(task_.q.data + head * task_.q.head, task_.q.row, {first, first + count}, rows,
                 1.0F / std::sqrt(static_cast<float>(sizes_.width)), sizes_.width, s_.q);
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
      score(r, seen.aligned(lane_count()), key);
      for (auto i = r; i < r + kTileRows; ++i) {
        weigh(i, sight_.keys(first + i, 1).within(key, kStrip), seen, is_first);
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

  // A row's scores become exp(score - most so far), zeros where its tile sees more than itself.
  void weigh(std::int64_t i, Range seen, Range tile, bool is_first) {
    float* row = s_.scores + i * s_.padded.strip;
    if (seen.is_empty()) return clear(row, tile);
    hide(row, seen);
    const auto range = seen.aligned(lane_count());
    const float most = largest(row, range, s_.most[i]);
    const float sum = exponentials(row, range, most);
    clear(row, {tile.begin, range.begin});
    clear(row, {range.end, tile.end});
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
      unpack(s_.out + i * s_.padded.width, sizes_.width, 1.0F / s_.sums[i], out + i * task_.out.row);
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
        s_(sizes, ScratchParts(scratch)) {}

  void run() {
    const auto step = s_.padded.width;
    for (std::int64_t first = 0; first < sizes_.length; first += kPanel) {
      pack_keys(task_.k, task_.v, first, sizes_, s_.k + first * step, s_.rows);
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

  float* panel(float* panels, std::int64_t key) const {
    return panels + key / kPanel * s_.padded.panel;
  }

  void queries(std::int64_t head, std::int64_t first, std::int64_t count) {
    const auto rows = whole(count, kTileRows);
    pack_block(head, {first, first + count}, rows);
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

  // The rows beyond `block` have slope 0, which makes everything that follows from them 0.
  void pack_block(std::int64_t head, Range block, std::int64_t rows) {
    const auto step = s_.padded.width;
    pack_queries(task_.q.data + head * task_.q.head, task_.q.row, block, rows, factor_,
                 sizes_.width, s_.q);
    std::fill(s_.slope, s_.slope + rows * step, 0.0F);
    std::fill(s_.means, s_.means + rows, 0.0F);
    std::fill(s_.log_sums, s_.log_sums + rows, 0.0F);
    for (auto i = block.begin; i < block.end; ++i) {
      const auto r = i - block.begin;
      pack(task_.out.data + head * task_.out.head + i * task_.out.row, sizes_.width, 1.0F, s_.rows);
      pack(task_.slope.data + head * task_.slope.head + i * task_.slope.row, sizes_.width, 1.0F,
           s_.slope + r * step);
      s_.means[r] = dot(s_.rows, s_.slope + r * step, step);
      s_.log_sums[r] = task_.log_sums[head * sizes_.length + i];
    }
  }

  // p and ds of the block, zeros where nothing is seen.
  void slopes_of_scores(std::int64_t first, std::int64_t rows, std::int64_t key) {
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const auto columns =
          sight_.keys(first + r, kTileRows).within(key, kPanel).aligned(lane_count());
      if (!columns.is_empty()) {
        multiply(s_.q, s_.k_panels, r, columns, key, s_.p);
        multiply(s_.slope, s_.v_panels, r, columns, key, s_.ds);
      }
      for (auto i = r; i < r + kTileRows; ++i) {
        slopes_of_row(i, sight_.keys(first + i, 1).within(key, kPanel));
      }
    }
  }

  void multiply(const float* left, float* panels, std::int64_t r, Range columns, std::int64_t key,
                float* scores) {
    product_of_rows<Into::nothing>(
        {left + r * s_.padded.width, s_.padded.width, 1}, panel(panels, key) + columns.begin,
        kPanel, sizes_.width, scores + r * kScores + columns.begin, kScores,
        columns.end - columns.begin);
  }

  void slopes_of_row(std::int64_t i, Range seen) {
    const hn::ScalableTag<float> d;
    float *p = s_.p + i * kScores, *ds = s_.ds + i * kScores;
    if (seen.is_empty()) seen = {0, 0};
    hide(p, seen);
    const auto range = seen.aligned(lane_count());
    const auto shift = hn::Set(d, s_.log_sums[i]), mean = hn::Set(d, s_.means[i]);
    for (auto j = range.begin; j < range.end; j += lane_count()) {
      const auto weight = exponential(d, hn::Sub(hn::Load(d, p + j), shift));
      hn::Store(weight, d, p + j);
      hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, ds + j), mean)), d, ds + j);
    }
    for (float* row : {p, ds}) {
      clear(row, {0, range.begin});
      clear(row, {range.end, kPanel});
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
