#include "optimizers/tensor_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace blockwise {

at::Tensor spread_over_blocks(const at::Tensor& values, const PartitionSection& s) {
  const auto spread_rows = [&](const at::Tensor& by_group) {
    return by_group.repeat_interleave(std::min(s.structure.tile_rows, s.rows), 0)
        .narrow(0, 0, s.rows);
  };
  switch (s.structure.kind) {
    case Structure::Kind::elements:
      return values.view({s.rows, s.columns});
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return spread_rows(values.view({s.tile_grid_rows(), s.tile_grid_columns()}))
          .repeat_interleave(std::min(s.structure.tile_columns, s.columns), 1)
          .narrow(1, 0, s.columns);
    case Structure::Kind::factored:
      return spread_rows(values.view({-1, 1}));
    case Structure::Kind::labels:
      return values
          .index_select(0, at::tensor(at::ArrayRef<std::int32_t>(s.structure.labels), at::kLong)
                               .to(values.device()))
          .view({s.rows, s.columns});
  }
  return values;
}

at::Tensor as_matrix(const ParameterStep& parameter, const at::Tensor& x) {
  return x.view({parameter.block.rows(), parameter.block.columns()});
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
  return spread_over_blocks(values, parameter.partition.sections[section]);
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

at::Tensor take_step(const at::Tensor& w, const at::Tensor& direction, const StepSize& step) {
  const auto old = w.clone();
  if (step.rate.defined()) {
    w.mul_(1.0 - step.rate * step.shrink).sub_(direction * (step.rate * step.size));
  } else {
    w.mul_(1.0 - step.shrink).sub_(direction * step.size);
  }
  return (w - old).to(at::kDouble).square().sum();
}

const kernels::RateMap* rate_map(const ParameterStep& parameter, std::size_t section,
                                 kernels::RateMap& map) {
  if (parameter.rates == nullptr || (*parameter.rates)[section].all_one()) return nullptr;
  const auto& s = parameter.partition.sections[section];
  const auto& rate = (*parameter.rates)[section].rate;
  map = {rate.data(), nullptr, s.columns, s.rows, s.columns};
  if (rate.size() == 1) return &map;
  switch (s.structure.kind) {
    case Structure::Kind::elements:
      map.tile_rows = map.tile_columns = 1;
      break;
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      map.tile_rows = s.structure.tile_rows;
      map.tile_columns = std::min(s.structure.tile_columns, s.columns);
      break;
    case Structure::Kind::factored:
      map.tile_rows = s.structure.tile_rows;
      break;
    case Structure::Kind::labels:
      map.labels = s.structure.labels.data();
      break;
  }
  return &map;
}

}  // namespace blockwise
