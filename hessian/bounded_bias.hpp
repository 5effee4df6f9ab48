// Intervals for what is only known between bounds, and those with a standard error.
//
// A mean with the error e may be off besides by -below to above, nobody knows how much. Of
//   [mean - c e - below, mean + c e + above]
// the ends are not missed at the same time: where the truth is at the lower one, a mean that is too
// small costs nothing as long as it is within the bounds. So c with
//   F(c + (below + above) / e) - F(-c) = confidence,  F Student's distribution,
// is enough wherever the truth lies (Imbens and Manski 2004, Econometrica 72, 1845): the two-sided
// quantile without a bias, towards the one-sided one where the bounds are wide.
#pragma once

namespace blockwise {

// 1 - 2 F(-c): the confidence of the two-sided interval that c belongs to, between
// 2 confidence - 1 and confidence. width: (below + above) / e >= 0.
double confidence_beside_bounds(double width, double degrees_of_freedom, double confidence);

}  // namespace blockwise
