// Where the sections of a model lie in the vectors that products take, and which of their elements
// a structure puts together. Two vectors: one of all parameters, and one of all matrices, which are
// what is searched.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "experiments/partitions/partition_scores.hpp"
#include "hessian/evidence/partition_energies.hpp"

namespace blockwise {

class SectionVectors {
 public:
  // The control `discovery.shuffle` puts the elements of every section in a random order.
  SectionVectors(const ParameterLayout& layout, const DiscoveryConfig& config,
                 const std::vector<SectionScores>& sections);

  // Numbers of the sections of matrices.
  const std::vector<std::size_t>& searched() const { return searched_; }
  // In the vector of all parameters, of every section; in that of all matrices, of the searched.
  const VectorSection& in_all(std::size_t section) const { return in_all_[section]; }
  const std::vector<VectorSection>& in_matrices() const { return in_matrices_; }
  // Of a section within its tensor.
  VectorSection in_tensor(std::size_t section) const;

  // Block numbers of a section's elements, as they lie in the tensor.
  at::Tensor labels(std::size_t section, const PartitionSection& part) const;
  // x [elements of the section] as the matrix [rows, columns] that structures see.
  at::Tensor matrix(std::size_t section, const at::Tensor& x) const;
  // Labels of all matrices; a section without the candidate is one block.
  EnergyLevel level(const std::vector<SectionScores>& sections, const std::string& candidate) const;
  // Labels of all matrices by what is chosen in every section.
  EnergyLevel chosen(const std::vector<SectionScores>& sections) const;
  // Every section one block.
  EnergyLevel whole() const;

 private:
  at::Tensor order(std::size_t section) const;

  struct Shape {
    std::int64_t tensor_begin, rows, columns;
  };
  bool shuffle_;
  std::uint64_t seed_;
  std::vector<Shape> shapes_;
  std::vector<VectorSection> in_all_, in_matrices_;
  std::vector<std::size_t> searched_;
};

}  // namespace blockwise
