#include "optimizers/tensor_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/partition/section_blocks.hpp"
#include "optimizers/matrices/fixed_sums.hpp"

namespace blockwise {

at::Tensor as_matrix(const ParameterStep& parameter, const at::Tensor& x) {
  const auto rows = parameter.parameter.rows(), columns = parameter.parameter.columns();
  const auto count = x.numel() / parameter.parameter.size();
  return count == 1 ? x.view({rows, columns}) : x.view({count, rows, columns});
}

at::Tensor rows_of(const PartitionSection& section, const at::Tensor& x) {
  return x.view({-1, section.columns}).narrow(0, section.row_begin, section.rows);
}

at::Tensor scaled_gradient(const ParameterStep& parameter, const StepScope& scope) {
  return as_matrix(parameter, parameter.gradient) * scope.gradient_scale;
}

bool has_rates(const ParameterStep& parameter) {
  return parameter.rates != nullptr &&
         !std::ranges::all_of(*parameter.rates, &SectionRates::all_one);
}

at::Tensor section_rates(const ParameterStep& parameter, std::size_t section) {
  if (parameter.rates == nullptr || (*parameter.rates)[section].all_one()) return {};
  const auto values = at::tensor((*parameter.rates)[section].rate, parameter.weight.options());
  if (values.numel() == 1) return values.view({1, 1});
  return spread(parameter.partition.sections[section], values);
}

at::Tensor element_rates(const ParameterStep& parameter) {
  if (!has_rates(parameter)) return {};
  std::vector<at::Tensor> rows;
  for (std::size_t s = 0; s < parameter.partition.sections.size(); ++s) {
    const auto& section = parameter.partition.sections[s];
    const auto rates = section_rates(parameter, s);
    const auto ones = at::ones({1, 1}, parameter.weight.options());
    rows.push_back((rates.defined() ? rates : ones).expand({section.rows, section.columns}));
  }
  return at::cat(rows);
}

at::Tensor scaled_rates(const ParameterStep& parameter, const at::Tensor& factor) {
  const auto rates = element_rates(parameter);
  return rates.defined() ? rates * factor : factor;
}

namespace {

// Of a matrix or vector, 0-d, or of each matrix of a stack.
at::Tensor squared_distance(const at::Tensor& w, const at::Tensor& old) {
  const auto squares = (w - old).to(at::kDouble).square();
  return w.dim() > 2 ? matrix_sums(squares) : fixed_sum(squares);
}

}  // namespace

at::Tensor take_step(const at::Tensor& w, const at::Tensor& direction, const StepSize& step) {
  const auto old = w.clone();
  if (step.rate.defined()) {
    w.mul_(1.0 - step.rate * step.shrink).sub_(direction * (step.rate * step.size));
  } else {
    w.mul_(1.0 - step.shrink).sub_(direction * step.size);
  }
  return squared_distance(w, old);
}

at::Tensor step_then_decay(const at::Tensor& w, const at::Tensor& direction, const StepSize& step) {
  const auto old = w.clone();
  if (step.rate.defined()) {
    w.sub_(direction * (step.rate * step.size)).mul_(1.0 - step.rate * step.shrink);
  } else {
    w.sub_(direction * step.size).mul_(1.0 - step.shrink);
  }
  return squared_distance(w, old);
}

const kernels::RateMap* rate_map(const ParameterStep& parameter, std::size_t section,
                                 kernels::RateMap& map) {
  if (parameter.rates == nullptr || (*parameter.rates)[section].all_one()) return nullptr;
  const auto& s = parameter.partition.sections[section];
  const auto& rate = (*parameter.rates)[section].rate;
  map = {rate.data(), nullptr, s.columns, s.rows, s.columns};
  if (rate.size() == 1) return &map;
  if (const auto tile = tile_of(s)) {
    map.tile_rows = tile->rows;
    map.tile_columns = tile->columns;
  } else {
    map.labels = s.structure.labels.data();
  }
  return &map;
}

}  // namespace blockwise
