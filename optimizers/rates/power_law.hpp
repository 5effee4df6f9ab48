// How heavy the tail of a matrix's spectrum is.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace blockwise {

// Hill's estimate of the exponent of a power law through the upper half of the squared singular
// values, lambda_0 <= ... <= lambda_N-1, k = floor(N / 2):
//   1 + (N - k) / sum_{i >= k} ln(lambda_i / lambda_k)
// as LLR (arXiv 2605.22297) takes it. Not finite where N is 1 or the upper half is one value or
// has zeros. Cost: a singular value decomposition without vectors.
double power_law_exponent(const at::Tensor& matrix);

// lowest .. highest in proportion to where an exponent lies between the least and the largest;
// `lowest` for what is not finite, and where all are equal.
std::vector<double> factors_of_exponents(const std::vector<double>& exponents, double lowest,
                                         double highest);

}  // namespace blockwise
