#include "hessian/spectral_function.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"

namespace blockwise {

const std::vector<SpectralFunction>& spectral_functions() {
  static const std::vector<SpectralFunction> functions = {
      {"absolute", [](double x, double) { return std::abs(x); }, false, 0.0},
      {"negative", [](double x, double d) { return x < -d ? 1.0 : 0.0; }, false, 1.0},
      {"log_determinant", [](double x, double d) { return std::log(std::abs(x) + d); }, true, 0.0},
      {"inverse", [](double x, double d) { return 1.0 / (std::abs(x) + d); }, true, 0.0},
      {"effective_dimension", [](double x, double d) { return std::abs(x) / (std::abs(x) + d); },
       true, 0.0}};
  return functions;
}

SpectrumIntegrand SpectralFunction::with(double damping) const {
  return {[f = value, damping](double x) { return f(x, damping); }, -rough * damping};
}

std::vector<std::string> spectral_function_names() {
  std::vector<std::string> names;
  for (const auto& function : spectral_functions()) names.push_back(function.name);
  return names;
}

const SpectralFunction& spectral_function(const std::string& name) {
  const auto& all = spectral_functions();
  const auto found = std::ranges::find(all, name, &SpectralFunction::name);
  require_input(found != all.end(), "no function of the spectrum is called '{}'", name);
  return *found;
}

}  // namespace blockwise
