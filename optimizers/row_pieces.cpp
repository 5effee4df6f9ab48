#include "optimizers/row_pieces.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"
#include "core/partition/partition_rows.hpp"

namespace blockwise {

std::vector<std::int64_t> row_cuts(const UpdateRule& rule, const Parameter& parameter,
                                   const TensorPartition& partition, std::int64_t pieces) {
  const auto unit = rule.rows_together(parameter, partition);
  const auto units = ceil_divide(parameter.rows(), unit);
  const auto count = std::min(pieces, units);
  std::vector<std::int64_t> cuts;
  for (std::int64_t i = 0; i < count; ++i) cuts.push_back(i * units / count * unit);
  cuts.push_back(parameter.rows());
  return cuts;
}

std::vector<std::vector<at::Tensor>> cut_state(const UpdateRule& rule, const Parameter& parameter,
                                               const TensorPartition& partition, const State& state,
                                               const std::vector<std::int64_t>& cuts) {
  std::vector<std::vector<at::Tensor>> pieces(state.size());
  std::vector<std::int64_t> next(state.size(), 0);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    const auto rows = cuts[i + 1] - cuts[i];
    const auto specs = rule.state(parameter_rows(parameter, cuts[i], rows),
                                  partition_rows(partition, cuts[i], rows));
    for (std::size_t k = 0; k < specs.size(); ++k) {
      if (specs[k].is_chosen_later()) {  // of a rule that cuts no rows
        pieces[k].push_back(state.load(k));
        next[k] += state.load(k).numel();
        continue;
      }
      const auto flat = state.load(k).view({-1});
      pieces[k].push_back(flat.narrow(0, next[k], specs[k].size()).view(specs[k].shape));
      next[k] += specs[k].size();
    }
  }
  for (std::size_t k = 0; k < next.size(); ++k) {
    check_equal(next[k], state.load(k).numel(), "values of the pieces of " + parameter.name);
  }
  return pieces;
}

}  // namespace blockwise
