#include "optimizers/clipping.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace blockwise {

double Clipping::scale(double gradient_norm) const {
  return needs_norm() ? std::min(1.0, bound / (gradient_norm + 1e-6)) : 1.0;
}

void Clipping::cut(const at::Tensor& gradient) const {
  if (by == By::value && bound > 0.0) gradient.clamp_(-bound, bound);
}

}  // namespace blockwise
