// How far to go for a difference of gradients, in place of a product H u with a unit vector u.
//
// Its error grows with the step h as a h^order, from higher derivatives (order 1 one-sided, 2
// central), and with 1 / h as b / h, from rounding. a is largest where the curvature is, b the same
// everywhere. Both are measured, by steps in pairs, along the direction of steepest curvature k
// that a few power steps find; with k' that of a random vector, where b tells most, h makes the sum
// of their relative errors least, a h^order / k + b / (h k'):  h^(order + 1) = b k / (order a k').
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace blockwise {

struct DifferenceStep {
  double length = 0.0;  // h, for every unit vector
  // Estimate of ||difference - H u||, three times over, where it is largest: a h^order + b / h.
  double error = 0.0;
  // ||difference - H u|| / ||H u|| of a random u, estimated alike.
  double typical_error = 0.0;
};

struct DifferenceProducts {
  // product [n] <- H u for a unit vector u [n] and a step, by one-sided differences, and by those
  // that are wanted.
  using Product =
      std::function<void(const at::Tensor& unit, double step, const at::Tensor& product)>;
  Product one_sided, wanted;
  int order = 1;
  // ||w||, ||g|| and the rounding unit of the parameters' type.
  double parameters = 0.0, gradient = 0.0, rounding = 0.0;
};

// What it takes: gradients, as that many products of each kind do.
inline constexpr int kOneSidedCalibration = 4, kWantedCalibration = 5;

// `start` and `random` [n] are where the power steps begin (it may be 0: then at `random`) and what
// is taken to be typical; the second is used up. Memory: two vectors beside them. Throws InputError
// where differences are not finite. On the meta device every number is taken to be 1: what it costs
// is what it is for.
DifferenceStep choose_difference_step(const DifferenceProducts& products, const at::Tensor& start,
                                      const at::Tensor& random);

// ||x||, in double whatever x is; 1 on the meta device.
double vector_norm(const at::Tensor& x);

}  // namespace blockwise
