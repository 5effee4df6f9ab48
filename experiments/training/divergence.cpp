#include "experiments/training/divergence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace blockwise {

double DivergenceScale::value() const {
  return std::max(std::abs(first_loss), std::log(static_cast<double>(classes)));
}

double divergence_bound(const TrainerConfig& trainer, const DivergenceScale& scale) {
  if (trainer.divergence_loss > 0.0) return trainer.divergence_loss;
  if (trainer.divergence_factor > 0.0) return trainer.divergence_factor * scale.value();
  return std::numeric_limits<double>::infinity();
}

std::string divergence_reason(const TrainerConfig& trainer, const DivergenceScale& scale,
                              double loss, double gradient_norm) {
  const bool finite = std::isfinite(loss) && std::isfinite(gradient_norm);
  const double bound = divergence_bound(trainer, scale);
  if (finite && loss <= bound) return "";
  const auto what = fmt::format("loss {} and gradient norm {}", loss, gradient_norm);
  if (!finite) return what;
  if (trainer.divergence_loss > 0.0) {
    return fmt::format("{}; trainer.divergence_loss is {}", what, bound);
  }
  return fmt::format(
      "{}; the bound is {:.6g}, trainer.divergence_factor {} times the larger of the first step's "
      "loss {:.6g} and log({}) (divergence_factor: 0 goes on)",
      what, bound, trainer.divergence_factor, scale.first_loss, scale.classes);
}

}  // namespace blockwise
