// Functions f whose trace tr f(A), the sum over the eigenvalues, is asked for by name.
#pragma once

#include <string>
#include <vector>

#include "hessian/spectral_density.hpp"

namespace blockwise {

// With damping d >= 0:
//   absolute             |x|: the nuclear norm
//   negative             1 for x < -d: how many eigenvalues are negative, and not just 0 rounded
//   log_determinant      log(|x| + d): log |det(|A| + d I)|
//   inverse              1 / (|x| + d)
//   effective_dimension  |x| / (|x| + d): directions that count against d (MacKay 1992)
struct SpectralFunction {
  std::string name;
  double (*value)(double x, double damping);
  bool needs_damping;  // not finite at 0 without
  double rough;        // in units of -damping: where it is not smooth

  SpectrumIntegrand with(double damping) const;
};

const std::vector<SpectralFunction>& spectral_functions();
std::vector<std::string> spectral_function_names();
const SpectralFunction& spectral_function(const std::string& name);

}  // namespace blockwise
