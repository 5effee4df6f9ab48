// Kernels of rules that treat every element alike: over the whole tensor, or section by section
// where blocks have rates of their own.
#pragma once

#include "optimizers/tensor_steps.hpp"

namespace blockwise {

// A tensor's float32 buffers on the CPU: weights, gradients and the first state, where there is
// one.
inline kernels::MatrixView matrix_view(const ParameterStep& p) {
  return {p.weight.data_ptr<float>(), p.gradient.data_ptr<float>(),
          p.state.size() > 0 ? p.state.data(0) : nullptr, p.parameter.rows(),
          p.parameter.columns()};
}

// Calls kernel(matrix, first element) with rows [first / columns, ...) and adds what it returns.
template <typename Kernel>
double over_sections(const ParameterStep& p, const Kernel& kernel) {
  const auto whole = matrix_view(p);
  if (!has_rates(p)) return kernel(whole, std::int64_t{0});
  double moved = 0.0;
  for (std::size_t s = 0; s < p.partition.sections.size(); ++s) {
    const auto& section = p.partition.sections[s];
    const auto at = section.row_begin * section.columns;
    kernels::RateMap map;
    const kernels::MatrixView rows{
        whole.w + at, whole.g + at,    whole.m == nullptr ? nullptr : whole.m + at,
        section.rows, section.columns, rate_map(p, s, map)};
    moved += kernel(rows, at);
  }
  return moved;
}

}  // namespace blockwise
