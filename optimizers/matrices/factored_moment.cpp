#include "optimizers/matrices/factored_moment.hpp"

#include <ATen/ATen.h>

#include "optimizers/matrices/fixed_sums.hpp"

namespace blockwise {

void add_factored_moment(std::vector<StateSpec>& specs, const Parameter& parameter,
                         const std::string& name) {
  if (!parameter.is_matrix()) {
    specs.push_back({name, parameter.shape, StateUse::non_negative});
    return;
  }
  specs.push_back({name + "_row", {parameter.rows()}, StateUse::non_negative});
  specs.push_back({name + "_col", {parameter.columns()}, StateUse::non_negative});
}

FactoredMoment::FactoredMoment(const Parameter& parameter, const State& state, std::size_t first)
    : rows_(state.load(first).view({-1, 1})), end_(first + (parameter.is_matrix() ? 2 : 1)) {
  if (parameter.is_matrix()) columns_ = state.load(first + 1).view({1, -1});
}

void FactoredMoment::average(const at::Tensor& x, double weight) const {
  rows_.lerp_(columns_.defined() ? row_means(x) : x, weight);
  if (columns_.defined()) columns_.lerp_(column_means(x), weight);
}

at::Tensor FactoredMoment::product(double floor) const {
  if (!columns_.defined()) return rows_;
  return rows_ * columns_ / column_means(rows_).clamp_min_(floor);
}

at::Tensor FactoredMoment::inverse_root() const {
  if (!columns_.defined()) return rows_.rsqrt();
  return (rows_ / column_means(rows_)).rsqrt_() * columns_.rsqrt();
}

}  // namespace blockwise
