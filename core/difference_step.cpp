#include "core/difference_step.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Steps as shares of 1 / sqrt(curvature), along which the loss changes by half a nat: small enough
// for power steps, and the longest one that is measured.
constexpr double kPowerShare = 0.05, kLongest = 0.2;
constexpr double kLongestOfParameters = 0.1;  // and never above this share of ||w||
constexpr double kRatio = 4.0;                // between the two steps that show truncation
constexpr double kSafety = 3.0;

// Elements whose copy in double stays in the cache.
constexpr std::int64_t kFold = std::int64_t{1} << 16;

class StepSearch {
 public:
  explicit StepSearch(const DifferenceProducts& products) : products_(products) {
    // The step of one-sided differences that forgets no digits is a start.
    step_ = std::sqrt(products_.rounding) * parameters();
  }

  DifferenceStep run(const at::Tensor& start, const at::Tensor& random) {
    const double typical = find_steepest(start, random);
    const double longest = longest_step();
    const double b = rounding(longest * std::sqrt(products_.rounding));
    const double a = truncation(longest, b);
    const double least = typical > 0.0 ? typical : curvature_;
    DifferenceStep step;
    step.length = longest;
    if (a > 0.0 && least > 0.0) {
      const double balanced = b * curvature_ / (products_.order * a * least);
      step.length = std::min(longest, std::pow(balanced, 1.0 / (products_.order + 1)));
    }
    const double of_truncation = kSafety * a * std::pow(step.length, products_.order);
    const double of_rounding = kSafety * b / step.length;
    step.error = of_truncation + of_rounding;
    if (typical > 0.0)
      step.typical_error = of_truncation / std::max(curvature_, typical) + of_rounding / typical;
    require_input(std::isfinite(step.error) && std::isfinite(step.typical_error),
                  "differences of the gradient at these parameters are not finite (step {})",
                  step.length);
    return step;
  }

 private:
  // What the two products for rounding and those for truncation leave.
  int power_steps() const {
    return kOneSidedCalibration + kWantedCalibration * products_.order - 3 - 2 * products_.order;
  }

  double parameters() const { return products_.parameters > 0.0 ? products_.parameters : 1.0; }

  // Power steps from the image of a random vector and the gradient: near a minimum the latter has
  // little left along steep directions. Returns the curvature of the random vector.
  double find_steepest(const at::Tensor& start, const at::Tensor& random) {
    direction_ = random;
    direction_.div_(vector_norm(direction_));
    product_ = at::empty_like(direction_);
    power_step();
    const double typical = curvature_;
    const double norm = vector_norm(start);
    if (norm > 0.0) direction_.add_(start, 1.0 / norm);
    direction_.div_(vector_norm(direction_));
    for (int i = 0; i < power_steps(); ++i) power_step();
    return typical;
  }

  void power_step() {
    products_.one_sided(direction_, step_, product_);
    curvature_ = vector_norm(product_);
    if (!(curvature_ > 0.0)) return;
    std::swap(direction_, product_);
    direction_.div_(curvature_);
    step_ = std::min(step_, kPowerShare / std::sqrt(curvature_));
  }

  double longest_step() const {
    const double of_parameters = kLongestOfParameters * parameters();
    return curvature_ > 0.0 ? std::min(of_parameters, kLongest / std::sqrt(curvature_))
                            : of_parameters;
  }

  // b of b / h, from two steps that are so short that nothing else is left: with gradients off by d
  // independently, one-sided products differ by sqrt(1 + 1/4 + 1/4) d / h. No gradient is known
  // better than to its own rounding.
  double rounding(double shortest) const {
    products_.one_sided(direction_, shortest, product_);
    const auto longer = at::empty_like(product_);
    products_.one_sided(direction_, 2.0 * shortest, longer);
    const double d = vector_norm(longer.sub_(product_)) * shortest / std::sqrt(1.5);
    return std::max(products_.order == 1 ? d * std::sqrt(2.0) : d / std::sqrt(2.0),
                    products_.rounding * products_.gradient);
  }

  // a of a h^order, from two steps; 0 where rounding is all that they differ by.
  double truncation(double longest, double b) {
    const auto longer = at::empty_like(product_);
    products_.wanted(direction_, longest, longer);
    products_.wanted(direction_, longest / kRatio, product_);
    curvature_ = vector_norm(product_);
    const double change = vector_norm(longer.sub_(product_));
    if (change <= 4.0 * b * kRatio / longest) return 0.0;
    return change / std::pow(longest, products_.order) / (1.0 - std::pow(kRatio, -products_.order));
  }

  const DifferenceProducts& products_;
  at::Tensor direction_;  // unit, of the steepest curvature so far
  at::Tensor product_;    // the last one's
  double curvature_ = 0.0, step_ = 0.0;
};

}  // namespace

DifferenceStep choose_difference_step(const DifferenceProducts& products, const at::Tensor& start,
                                      const at::Tensor& random) {
  return StepSearch(products).run(start, random);
}

// A float32 sum of a billion squares would stop growing on its way.
double vector_norm(const at::Tensor& x) {
  if (x.is_meta()) return 1.0;
  double squares = 0.0;
  for (std::int64_t begin = 0; begin < x.numel(); begin += kFold) {
    const auto part = x.narrow(0, begin, std::min(kFold, x.numel() - begin)).to(at::kDouble);
    squares += part.dot(part).item<double>();
  }
  return std::sqrt(squares);
}

}  // namespace blockwise
