// P-values of several comparisons at once.
#pragma once

#include <span>
#include <vector>

namespace blockwise {

// Holm's step-down correction (Holm 1979, Scand. J. Statist. 6, 65): with p_(1) <= ... <= p_(m) the
// adjusted value of the i-th smallest is
//   max over j <= i of min(1, (m - j + 1) p_(j)),
// so that rejecting where it is at most alpha falsely rejects anything with probability at most
// alpha, however the comparisons depend on each other. In the order of `p_values`.
std::vector<double> holm_adjusted(std::span<const double> p_values);

}  // namespace blockwise
