#include "experiments/partitions/section_vectors.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/partition/section_blocks.hpp"
#include "hessian/probe_vectors.hpp"

namespace blockwise {
SectionVectors::SectionVectors(const ParameterLayout& layout, const DiscoveryConfig& config,
                               const std::vector<SectionScores>& sections)
    : shuffle_(config.shuffle), seed_(static_cast<std::uint64_t>(config.seed)) {
  for (std::size_t number = 0; number < sections.size(); ++number) {
    const auto& section = sections[number];
    const auto& parameter = layout.parameters()[section.tensor];
    const auto& part = section.candidates.front().section;
    shapes_.push_back({parameter.offset, part.rows, part.columns});
    in_all_.push_back({parameter.offset + part.row_begin * parameter.columns(), part.size()});
    if (!section.is_matrix) continue;
    const auto begin =
        in_matrices_.empty() ? 0 : in_matrices_.back().begin + in_matrices_.back().size;
    searched_.push_back(number);
    in_matrices_.push_back({begin, part.size()});
  }
}

VectorSection SectionVectors::in_tensor(std::size_t section) const {
  return {in_all_[section].begin - shapes_[section].tensor_begin, in_all_[section].size};
}

// A section's elements in the order in which structures see them.
at::Tensor SectionVectors::order(std::size_t section) const {
  const auto size = in_all_[section].size;
  if (!shuffle_) return at::arange(size, at::kLong);
  auto generator = probe_generator(seed_, ProbePlace::section_order, section);
  return at::randperm(size, generator, at::kLong);
}

at::Tensor SectionVectors::labels(std::size_t section, const PartitionSection& part) const {
  return at::tensor(labels_of(part), at::kLong).index_select(0, order(section));
}

at::Tensor SectionVectors::matrix(std::size_t section, const at::Tensor& x) const {
  const auto ordered = shuffle_ ? x.index_select(0, order(section).argsort()) : x;
  return ordered.view({shapes_[section].rows, shapes_[section].columns});
}

EnergyLevel SectionVectors::level(const std::vector<SectionScores>& sections,
                                  const std::string& candidate) const {
  EnergyLevel level;
  std::vector<at::Tensor> all;
  for (const auto number : searched_) {
    const auto found =
        std::ranges::find(sections[number].candidates, candidate, &CandidateScore::name);
    const bool split = found != sections[number].candidates.end();
    all.push_back(split ? labels(number, found->section) + level.block_count
                        : at::full({in_all_[number].size}, level.block_count, at::kLong));
    level.block_count += split ? found->section.block_count() : 1;
  }
  level.labels = at::cat(all);
  return level;
}

EnergyLevel SectionVectors::chosen(const std::vector<SectionScores>& sections) const {
  EnergyLevel level;
  std::vector<at::Tensor> all;
  for (const auto number : searched_) {
    const auto& part = sections[number].candidates[sections[number].chosen].section;
    all.push_back(labels(number, part) + level.block_count);
    level.block_count += part.block_count();
  }
  level.labels = at::cat(all);
  return level;
}

EnergyLevel SectionVectors::whole() const {
  EnergyLevel level;
  std::vector<at::Tensor> all;
  for (const auto number : searched_) {
    all.push_back(at::full({in_all_[number].size}, level.block_count++, at::kLong));
  }
  level.labels = at::cat(all);
  return level;
}

}  // namespace blockwise
