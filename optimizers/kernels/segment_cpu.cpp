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
    const auto momentum = hn::MulAdd(hn::Set(d, s.beta1), hn::LoadU(d, run.m + i),
                                     hn::Mul(hn::Set(d, s.one_minus_beta1), g));
    hn::StoreU(momentum, d, run.m + i);
    return move_vector(d, run.w + i, rate.scaled(d, i, s.step_size), hn::Div(momentum, denominator),
                       rate.decay(d, i, s));
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

double SumSquares(const float* g, std::int64_t n, float scale) {
  return fold_over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto gradient = scaled(d, g + i, scale);
    return hn::Mul(gradient, gradient);
  });
}

void AddSquares(const float* g, std::int64_t n, float scale, float* sums) {
  fold_over(n, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto gradient = scaled(d, g + i, scale);
    const auto sum = hn::Add(hn::LoadU(d, sums + i), hn::Mul(gradient, gradient));
    hn::StoreU(sum, d, sums + i);
    return hn::Zero(d);
  });
}

float SecondMoment(float v, float mean_square, const AdamStep& s) {
  const hn::CappedTag<float, 1> one;
  return hn::GetLane(next_second_moment(one, hn::Set(one, v), hn::Set(one, mean_square), s));
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
HWY_EXPORT(Sgd);
HWY_EXPORT(Descend);
HWY_EXPORT(SumSquares);
HWY_EXPORT(AddSquares);
HWY_EXPORT(SecondMoment);
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

double sgd(const Run& run, const SgdStep& step) { return HWY_DYNAMIC_DISPATCH(Sgd)(run, step); }

double descend(const Run& run, const SgdStep& step) {
  return HWY_DYNAMIC_DISPATCH(Descend)(run, step);
}

double sum_squares(const float* g, std::int64_t n, float scale) {
  return HWY_DYNAMIC_DISPATCH(SumSquares)(g, n, scale);
}

void add_squares(const float* g, std::int64_t n, float scale, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddSquares)(g, n, scale, sums);
}

float second_moment(float v, float mean_square, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(SecondMoment)(v, mean_square, step);
}

float denominator(float v, float scale, const AdamStep& step) {
  return HWY_DYNAMIC_DISPATCH(Denominator)(v, scale, step);
}

const char* simd_target() { return HWY_DYNAMIC_DISPATCH(TargetName)(); }

}  // namespace blockwise::kernels
#endif
