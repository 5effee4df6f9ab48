// Softmax, cross-entropy and its slope of one row of scores, without a tensor in between.
#pragma once

#include <cstdint>

namespace blockwise {

// With scores z [classes] and p = softmax(z): returns -log p_target in nats. Where `slope` is not
// null it becomes weight (p - e_target), [classes], rounded to nearest; it may be z itself. A
// negative target does not count: loss 0, slope 0. A NaN or +inf among the scores makes loss and
// slope NaN.
// Two passes over z, a third with a slope; sums are float32 over 1024 classes at most, then
// float64; the exponential is right to 2 ULP.
double cross_entropy_row(const float* z, std::int64_t classes, std::int64_t target, float weight,
                         float* slope);
// The same on bfloat16 (its bits); everything between is float32.
double cross_entropy_row(const std::uint16_t* z, std::int64_t classes, std::int64_t target,
                         float weight, std::uint16_t* slope);

}  // namespace blockwise
