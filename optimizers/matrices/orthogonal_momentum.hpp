// The direction that Muon and NorMuon share: momentum whose singular values are set to about 1, and
// how far a matrix goes along it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "core/base/fields.hpp"
#include "core/parameters/parameter.hpp"

namespace blockwise {

struct OrthogonalMomentum {
  double momentum = 0.95;
  bool nesterov = true;
  std::int64_t newton_schulz_steps = 5;
  std::string coefficients = "jordan";  // see newton_schulz.hpp
  std::string newton_schulz_type = "bfloat16";
  std::string rate_scale = "match_rms_adamw";

  void visit(FieldVisitor& v);
  // m <- momentum m + (1 - momentum) g;  orthogonalized((1 - momentum) g + momentum m), or of m
  // without Nesterov. g and m [rows, columns], or stacks of them; the result has their type.
  at::Tensor direction(const at::Tensor& g, const at::Tensor& m) const;
  // sqrt(max(1, rows / columns)) for "original", sqrt(rows / columns) for "spectral" (Dion's), 0.2
  // sqrt(max(rows, columns)) for "match_rms_adamw" (Liu et al., arXiv 2502.16982, eq. 4), where the
  // rates of AdamW fit.
  double scale(const Parameter& parameter) const;
};

}  // namespace blockwise
