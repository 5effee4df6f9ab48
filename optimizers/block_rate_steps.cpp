#include "optimizers/block_rate_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/kernels/block_rates.hpp"

namespace blockwise {
namespace {

double scale_section(const float* before, float* w, const PartitionSection& section,
                     const SectionRates& rates, kernels::Workspace& space) {
  const auto* values = rates.rate.data();
  const auto tiles = [&](std::int64_t rows, std::int64_t columns) {
    return kernels::scale_tiles(before, w, section.rows, section.columns, rows, columns, values,
                                space);
  };
  const auto& structure = section.structure;
  if (rates.rate.size() == 1) return tiles(section.rows, section.columns);
  switch (structure.kind) {
    case Structure::Kind::elements:
      return tiles(1, 1);
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return tiles(structure.tile_rows, structure.tile_columns);
    case Structure::Kind::factored:
      return tiles(structure.tile_rows, section.columns);
    case Structure::Kind::labels:
      return kernels::scale_labels(before, w, section.rows, section.columns,
                                   structure.labels.data(), values, space);
  }
  return 0.0;
}

}  // namespace

double scale_step_cpu(const at::Tensor& before, const at::Tensor& w,
                      const TensorPartition& partition, const std::vector<SectionRates>& rates,
                      kernels::Workspace& space) {
  double moved = 0.0;
  for (std::size_t s = 0; s < partition.sections.size(); ++s) {
    const auto& section = partition.sections[s];
    const auto at = section.row_begin * section.columns;
    moved += scale_section(before.data_ptr<float>() + at, w.data_ptr<float>() + at, section,
                           rates[s], space);
  }
  return moved;
}

at::Tensor spread_over_blocks(const at::Tensor& values, const PartitionSection& s) {
  switch (s.structure.kind) {
    case Structure::Kind::elements:
      return values.view({s.rows, s.columns});
    case Structure::Kind::tiles:
    case Structure::Kind::none:
      return values.view({s.tile_grid_rows(), s.tile_grid_columns()})
          .repeat_interleave(std::min(s.structure.tile_rows, s.rows), 0)
          .repeat_interleave(std::min(s.structure.tile_columns, s.columns), 1)
          .narrow(0, 0, s.rows)
          .narrow(1, 0, s.columns);
    case Structure::Kind::factored:
      return values.view({-1, 1})
          .repeat_interleave(std::min(s.structure.tile_rows, s.rows), 0)
          .narrow(0, 0, s.rows);
    case Structure::Kind::labels:
      return values
          .index_select(0, at::tensor(at::ArrayRef<std::int32_t>(s.structure.labels), at::kLong)
                               .to(values.device()))
          .view({s.rows, s.columns});
  }
  return values;
}

at::Tensor scale_step_tensors(const at::Tensor& before, const at::Tensor& w,
                              const TensorPartition& partition,
                              const std::vector<SectionRates>& rates) {
  auto moved = at::zeros({}, w.options().dtype(at::kDouble));
  for (std::size_t s = 0; s < partition.sections.size(); ++s) {
    const auto& section = partition.sections[s];
    const auto rows = [&](const at::Tensor& t) {
      return t.view({-1, section.columns}).narrow(0, section.row_begin, section.rows);
    };
    const auto values = at::tensor(rates[s].rate, w.options());
    const auto factor =
        values.numel() == 1 ? values.view({1, 1}) : spread_over_blocks(values, section);
    const auto step = (rows(w) - rows(before)) * factor;
    rows(w).copy_(rows(before) + step);
    moved += step.to(at::kDouble).square().sum();
  }
  return moved;
}

}  // namespace blockwise
