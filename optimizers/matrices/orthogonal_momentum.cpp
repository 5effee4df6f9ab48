#include "optimizers/matrices/orthogonal_momentum.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/matrices/newton_schulz.hpp"

namespace blockwise {

void OrthogonalMomentum::visit(FieldVisitor& v) {
  v.real({"momentum", "decay of the average of gradients"}, momentum, {0.0, 1.0, false, true});
  v.boolean({"nesterov", "look-ahead form"}, nesterov);
  v.integer({"newton_schulz_steps", "steps of the orthogonalization"}, newton_schulz_steps,
            {1, 100});
  v.choice({"coefficients",
            "of these steps: jordan, near 1; dion and polar_express, nearer; "
            "quintic, which converges to 1 in 12"},
           coefficients, polar_steps_names());
  v.choice({"newton_schulz_type", "of its products"}, newton_schulz_type, {"bfloat16", "float32"});
  v.choice({"rate_scale", "how the step of a matrix grows with its sides"}, rate_scale,
           {"match_rms_adamw", "original", "spectral"});
}

at::Tensor OrthogonalMomentum::direction(const at::Tensor& g, const at::Tensor& m) const {
  m.lerp_(g, 1.0 - momentum);
  const auto u = nesterov ? g.lerp(m, momentum) : m;
  const auto type = newton_schulz_type == "bfloat16" ? at::kBFloat16 : at::kFloat;
  return orthogonalized(u.to(type), polar_steps(coefficients), newton_schulz_steps)
      .to(m.scalar_type());
}

double OrthogonalMomentum::scale(const Parameter& parameter) const {
  const double rows = double(parameter.rows()), columns = double(parameter.columns());
  if (rate_scale == "original") return std::sqrt(std::max(1.0, rows / columns));
  if (rate_scale == "spectral") return std::sqrt(rows / columns);
  return 0.2 * std::sqrt(std::max(rows, columns));
}

}  // namespace blockwise
