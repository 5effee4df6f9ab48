#include "optimizers/kernels/segment.hpp"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optimizers/kernels/segment_cpu.cpp"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace blockwise::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Float partial sums are folded into double after this many elements: the rounding error of a sum
// of squares stays near 1e-7 relative whatever the tensor's size.
constexpr std::int64_t kFold = 1024;

template <class D>
double lane_sum(D d, hn::Vec<D> v) {
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, v)));
}

// Runs `body(d, i)` over [0, n) with full vectors and then one lane at a time: one body, so the
// tail rounds exactly as the rest. body returns the square to be summed.
template <class Body>
double fold_over(std::int64_t n, const Body& body) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0.0;
  std::int64_t i = 0;
  while (i + lanes <= n) {
    const std::int64_t end = std::min(n, i + kFold);
    auto sum = hn::Zero(d);
    for (; i + lanes <= end; i += lanes) sum = hn::Add(sum, body(d, i));
    total += lane_sum(d, sum);
  }
  for (; i < n; ++i) total += static_cast<double>(hn::GetLane(body(one, i)));
  return total;
}

// The rate of every element: that of the step.
struct OneRate {
  template <class D>
  hn::Vec<D> scaled(D d, std::int64_t, float size) const {
    return hn::Set(d, size);
  }
  template <class D, class Step>
  hn::Vec<D> decay(D d, std::int64_t, const Step& s) const {
    return hn::Set(d, s.decay);
  }
};

// One factor per element.
struct RatePerElement {
  const float* rates;

  template <class D>
  hn::Vec<D> scaled(D d, std::int64_t i, float size) const {
    return hn::Mul(hn::LoadU(d, rates + i), hn::Set(d, size));
  }
  template <class D, class Step>
  hn::Vec<D> decay(D d, std::int64_t i, const Step& s) const {
    return hn::NegMulAdd(hn::LoadU(d, rates + i), hn::Set(d, s.shrink), hn::Set(d, 1.0f));
  }
};

// Calls run(rate) with the kind of rates that there are.
template <class Run>
double with_rates(const float* rates, const Run& run) {
  return rates == nullptr ? run(OneRate{}) : run(RatePerElement{rates});
}

// w <- decay w - size direction of one vector; returns (w_new - w_old)^2.
template <class D>
hn::Vec<D> move_vector(D d, float* w, hn::Vec<D> size, hn::Vec<D> direction, hn::Vec<D> decay) {
  const auto old = hn::LoadU(d, w);
  const auto updated = hn::NegMulAdd(size, direction, hn::Mul(decay, old));
  hn::StoreU(updated, d, w);
  const auto delta = hn::Sub(updated, old);
  return hn::Mul(delta, delta);
}

// m and w of a run's vectors.
template <class Rate>
struct AdamMove {
  const Run& run;
  const Rate& rate;
  const AdamStep& s;

  // Of the vector at element i, with the given denominator; returns (w_new - w_old)^2.
  template <class D>
  hn::Vec<D> operator()(D d, std::int64_t i, hn::Vec<D> g, hn::Vec<D> denominator) const {
    const auto momentum = average(d, hn::LoadU(d, run.m + i), g);
    hn::StoreU(momentum, d, run.m + i);
    const auto direction = s.nesterov ? average(d, momentum, g) : momentum;
    return move_vector(d, run.w + i, rate.scaled(d, i, s.step_size),
                       hn::Div(direction, denominator), rate.decay(d, i, s));
  }
  template <class D>
  hn::Vec<D> average(D d, hn::Vec<D> old, hn::Vec<D> g) const {
    return hn::MulAdd(hn::Set(d, s.beta1), old, hn::Mul(hn::Set(d, s.one_minus_beta1), g));
  }
};
template <class Rate>
AdamMove(const Run&, const Rate&, const AdamStep&) -> AdamMove<Rate>;

template <class D>
hn::Vec<D> scaled(D d, const float* g, float scale) {
  return hn::Mul(hn::LoadU(d, g), hn::Set(d, scale));
}

template <class D>
hn::Vec<D> next_second_moment(D d, hn::Vec<D> v, hn::Vec<D> square, const AdamStep& s) {
  return hn::MulAdd(hn::Set(d, s.beta2), v, hn::Mul(hn::Set(d, s.one_minus_beta2), square));
}

double AdamElements(const Run& run, float* v, const AdamStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    const AdamMove move{run, rate, s};
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto gradient = scaled(d, run.g + i, s.gradient_scale);
      const auto moment =
          next_second_moment(d, hn::LoadU(d, v + i), hn::Mul(gradient, gradient), s);
      hn::StoreU(moment, d, v + i);
      const auto denominator =
          hn::MulAdd(hn::Sqrt(moment), hn::Set(d, s.inverse_root_bias), hn::Set(d, s.eps));
      return move(d, i, gradient, denominator);
    });
  });
}

double AdamUniform(const Run& run, float denominator, const AdamStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    const AdamMove move{run, rate, s};
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      return move(d, i, scaled(d, run.g + i, s.gradient_scale), hn::Set(d, denominator));
    });
  });
}

double AdamColumns(const Run& run, const float* roots, float root_scale, const AdamStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    const AdamMove move{run, rate, s};
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto denominator =
          hn::MulAdd(hn::LoadU(d, roots + i), hn::Set(d, root_scale), hn::Set(d, s.eps));
      return move(d, i, scaled(d, run.g + i, s.gradient_scale), denominator);
    });
  });
}

// beta old + (1 - beta) g as LibTorch's mul_() and add_() round it.
template <class D>
hn::Vec<D> decayed_sum(D d, hn::Vec<D> old, hn::Vec<D> g, float beta, float one_minus_beta) {
  return hn::MulAdd(hn::Set(d, one_minus_beta), g, hn::Mul(hn::Set(d, beta), old));
}

// 0 at 0 and where x is no number.
template <class D>
hn::Vec<D> sign(D d, hn::Vec<D> x) {
  const auto zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  return hn::Sub(hn::IfThenElseZero(hn::Gt(x, zero), one),
                 hn::IfThenElseZero(hn::Lt(x, zero), one));
}

double Lion(const Run& run, const AdamStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto gradient = scaled(d, run.g + i, s.gradient_scale);
      const auto old = hn::LoadU(d, run.m + i);
      const auto average = decayed_sum(d, old, gradient, s.beta1, s.one_minus_beta1);
      hn::StoreU(decayed_sum(d, old, gradient, s.beta2, s.one_minus_beta2), d, run.m + i);
      return move_vector(d, run.w + i, rate.scaled(d, i, s.step_size), sign(d, average),
                         rate.decay(d, i, s));
    });
  });
}

double Sgd(const Run& run, const SgdStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto gradient = scaled(d, run.g + i, s.gradient_scale);
      const auto mu = hn::Set(d, s.momentum);
      const auto buffer = hn::MulAdd(mu, hn::LoadU(d, run.m + i), gradient);
      hn::StoreU(buffer, d, run.m + i);
      const auto direction = s.nesterov ? hn::MulAdd(mu, buffer, gradient) : buffer;
      return move_vector(d, run.w + i, rate.scaled(d, i, s.learning_rate), direction,
                         rate.decay(d, i, s));
    });
  });
}

double Descend(const Run& run, const SgdStep& s) {
  return with_rates(run.rates, [&](const auto& rate) HWY_ATTR {
    return fold_over(run.n, [&](auto d, std::int64_t i) HWY_ATTR {
      return move_vector(d, run.w + i, rate.scaled(d, i, s.learning_rate),
                         scaled(d, run.g + i, s.gradient_scale), rate.decay(d, i, s));
    });
  });
}

double SumSquares(const float* g, std::int64_t n) {
  return fold_over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto gradient = hn::LoadU(d, g + i);
    return hn::Mul(gradient, gradient);
  });
}

// kVectors columns' vectors from column j on, with their sums in registers: a store for every row
// would wait for loads of rows that lie a multiple of a page away from the sums.
template <std::int64_t kVectors, class D>
void AddStripSquares(D d, const float* g, std::int64_t rows, std::int64_t columns, float* sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<D> sum[kVectors];
  for (std::int64_t k = 0; k < kVectors; ++k) sum[k] = hn::LoadU(d, sums + k * lanes);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t k = 0; k < kVectors; ++k) {
      const auto gradient = hn::LoadU(d, g + i * columns + k * lanes);
      sum[k] = hn::Add(sum[k], hn::Mul(gradient, gradient));
    }
  }
  for (std::int64_t k = 0; k < kVectors; ++k) hn::StoreU(sum[k], d, sums + k * lanes);
}

void AddSquares(const float* g, std::int64_t rows, std::int64_t columns, float* sums) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  constexpr std::int64_t kVectors = 8;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + kVectors * lanes <= columns; j += kVectors * lanes) {
    AddStripSquares<kVectors>(d, g + j, rows, columns, sums + j);
  }
  for (; j + lanes <= columns; j += lanes) AddStripSquares<1>(d, g + j, rows, columns, sums + j);
  for (; j < columns; ++j) AddStripSquares<1>(one, g + j, rows, columns, sums + j);
}

float SecondMoment(float v, float mean_square, const AdamStep& s) {
  const hn::CappedTag<float, 1> one;
  return hn::GetLane(next_second_moment(one, hn::Set(one, v), hn::Set(one, mean_square), s));
}

void SecondMoments(float* v, float* means, std::int64_t n, const AdamStep& s) {
  fold_over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto moment = next_second_moment(d, hn::LoadU(d, v + i), hn::LoadU(d, means + i), s);
    hn::StoreU(moment, d, v + i);
    hn::StoreU(hn::Sqrt(moment), d, means + i);
    return hn::Zero(d);
  });
}

float Denominator(float v, float scale, const AdamStep& s) {
  const hn::CappedTag<float, 1> one;
  return hn::GetLane(
      hn::MulAdd(hn::Sqrt(hn::Set(one, v)), hn::Set(one, scale), hn::Set(one, s.eps)));
}

const char* TargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace blockwise::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace blockwise::kernels {

HWY_EXPORT(AdamElements);
HWY_EXPORT(AdamUniform);
HWY_EXPORT(AdamColumns);
HWY_EXPORT(Lion);
HWY_EXPORT(Sgd);
HWY_EXPORT(Descend);
HWY_EXPORT(SumSquares);
HWY_EXPORT(AddSquares);
HWY_EXPORT(SecondMoment);
HWY_EXPORT(SecondMoments);
HWY_EXPORT(Denominator);
HWY_EXPORT(TargetName);

double adam_elements(const Run& run, float* v, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(AdamElements)(run, v, step);
}

double adam_uniform(const Run& run, float denominator, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(AdamUniform)(run, denominator, step);
}

double adam_columns(const Run& run, const float* roots, float root_scale, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(AdamColumns)(run, roots, root_scale, step);
}

double lion(const Run& run, const AdamStep& step) { return HWY_DYNAMIC_DISPATCH(Lion)(run, step); }

double sgd(const Run& run, const SgdStep& step) { return HWY_DYNAMIC_DISPATCH(Sgd)(run, step); }

double descend(const Run& run, const SgdStep& step) {
  return HWY_DYNAMIC_DISPATCH(Descend)(run, step);
}

double sum_squares(const float* g, std::int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SumSquares)(g, n);
}

void add_squares(const float* g, std::int64_t rows, std::int64_t columns, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddSquares)(g, rows, columns, sums);
}

float second_moment(float v, float mean_square, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(SecondMoment)(v, mean_square, step);
}

void second_moments(float* v, float* means, std::int64_t n, const AdamStep& step) {
  HWY_DYNAMIC_DISPATCH(SecondMoments)(v, means, n, step);
}

float denominator(float v, float scale, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(Denominator)(v, scale, step);
}

const char* simd_target() { return HWY_DYNAMIC_DISPATCH(TargetName)(); }

}  // namespace blockwise::kernels
#endif
