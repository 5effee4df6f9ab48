// A second moment kept as the means of its rows and of its columns (Shazeer and Stern, arXiv
// 1804.04235, Algorithm 1), as Adafactor, AdaLomo and CAME share it. A vector keeps every value.
#pragma once

#include <string>
#include <vector>

#include "core/parameters/parameter.hpp"
#include "optimizers/state/state.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

// Appends NAME_row [rows] and NAME_col [columns] for a matrix, NAME [n] for a vector. Tensors of
// more axes are matrices with the first axis as rows.
void add_factored_moment(std::vector<StateSpec>& specs, const Parameter& parameter,
                         const std::string& name);

// The moment whose state begins at number `first`.
class FactoredMoment {
 public:
  FactoredMoment(const Parameter& parameter, const State& state, std::size_t first);

  // moment <- (1 - weight) moment + weight x, x [rows, columns].
  void average(const at::Tensor& x, double weight) const;
  // r c / max(mean(r), floor), or the vector's own values: [rows, columns].
  at::Tensor product(double floor) const;
  // (r / mean(r))^-1/2 c^-1/2, in this order, or v^-1/2: [rows, columns].
  at::Tensor inverse_root() const;
  // Number of the first state behind it.
  std::size_t end() const { return end_; }

 private:
  at::Tensor rows_;     // [rows, 1]; of a vector: all values
  at::Tensor columns_;  // [1, columns]; undefined for a vector
  std::size_t end_;
};

}  // namespace blockwise
