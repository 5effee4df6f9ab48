#include "optimizers/tensor_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/partition/section_blocks.hpp"
#include "optimizers/matrices/fixed_sums.hpp"

namespace blockwise {

at::Tensor as_matrix(const ParameterStep& parameter, const at::Tensor& x) {
  return x.view({parameter.parameter.rows(), parameter.parameter.columns()});
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

at::Tensor take_step(const at::Tensor& w, const at::Tensor& direction, const StepSize& step) {
  const auto old = w.clone();
  if (step.rate.defined()) {
    w.mul_(1.0 - step.rate * step.shrink).sub_(direction * (step.rate * step.size));
  } else {
    w.mul_(1.0 - step.shrink).sub_(direction * step.size);
  }
  return fixed_sum((w - old).to(at::kDouble).square());
}

at::Tensor step_then_decay(const at::Tensor& w, const at::Tensor& direction, const StepSize& step) {
  const auto old = w.clone();
  if (step.rate.defined()) {
    w.sub_(direction * (step.rate * step.size)).mul_(1.0 - step.rate * step.shrink);
  } else {
    w.sub_(direction * step.size).mul_(1.0 - step.shrink);
  }
  return fixed_sum((w - old).to(at::kDouble).square());
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
