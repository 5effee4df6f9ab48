// Energy inside the blocks of several partitions of one parameter vector at once, from shared
// sign-coded probes (see block_energies.hpp). Levels are partitions; sections are ranges of the
// vector whose sums are wanted, such as tensors. For a level with signs s^k per block and y^k =
// A (s^k . v),
//   sum over a section's elements of ( (sum_k a_k)^2 - sum_k a_k^2 ) / (K (K - 1)),  a_k = s^k .
//   y^k,
// is unbiased for the section's sum of ||A_bb v_b||^2, since what is not in the element's own block
// has independent signs. So one vector per level's probes is enough, whatever the number of blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/linear_operator.hpp"
#include "core/base/saved_state.hpp"
#include "hessian/block_energies.hpp"

namespace blockwise {

// Elements [begin, begin + size) of the vector.
struct VectorSection {
  std::int64_t begin = 0, size = 0;
};

inline constexpr std::int64_t kDiagonalGroups = 4;

struct EnergyLevel {
  at::Tensor labels;  // int64 [rows] on the CPU; blocks lie within sections
  std::int64_t block_count = 0;
};

struct PartitionEnergies {
  // One per level: [vectors, sections] float64, a sample of the energy inside the blocks for every
  // v, which all levels share.
  std::vector<at::Tensor> inside;
  at::Tensor diagonal;  // [sections]: energy of the diagonal, noise left out
  // [sections]: its standard error, a jackknife over the groups of `diagonals`; 0 where there are
  // fewer than three.
  at::Tensor diagonal_error;
  // Estimates of the diagonal, float64 [rows], from disjoint sets of the vectors: as many as there
  // are vectors, kDiagonalGroups at most. Their noise is independent.
  std::vector<at::Tensor> diagonals;
};

class PartitionProbes {
 public:
  // Keeps a reference to the operator. Cost: levels * vectors * codes products.
  PartitionProbes(const LinearOperator& a, std::vector<VectorSection> sections,
                  std::vector<EnergyLevel> levels, const CodePlan& plan);

  std::int64_t products() const;  // in all
  // Vector after vector; `observe` is told after every product, `after` after every vector and may
  // return false to stop. Returns whether all are done; another call goes on.
  bool run(const std::function<void()>& observe, const std::function<bool()>& after);
  PartitionEnergies result() const;

  // What is done, so that a stopped search goes on with the same bits.
  void save(const StateWriter& state) const;
  void load(const StateReader& state);

 private:
  void probe(std::int64_t vector, const std::function<void()>& observe);
  at::Tensor section_sums(const at::Tensor& x) const;
  std::int64_t vectors_of(std::int64_t group) const;
  at::Tensor diagonal_error() const;

  const LinearOperator& matrix_;
  std::vector<VectorSection> sections_;
  std::vector<EnergyLevel> levels_;
  CodePlan plan_;
  std::int64_t done_ = 0;
  at::Tensor inside_;            // [levels, vectors, sections]
  at::Tensor diagonal_sums_;     // [kDiagonalGroups, rows], over vectors
  at::Tensor diagonal_squares_;  // [sections]
};

}  // namespace blockwise
