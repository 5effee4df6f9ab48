// Clipping: a bound on gradients before a rule sees them.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

struct Clipping {
  enum class By { norm, value };
  By by = By::norm;
  double bound = 0.0;  // 0: none

  // The factor of all gradients depends on all of them.
  bool needs_norm() const { return by == By::norm && bound > 0.0; }
  // min(1, bound / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_: the 1e-6 keeps a zero gradient
  // finite. 1 without a bound on the norm.
  double scale(double gradient_norm) const;
  // Cuts every element to [-bound, bound] in place, by value.
  void cut(const at::Tensor& gradient) const;
};

}  // namespace blockwise
