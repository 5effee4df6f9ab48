#include "experiments/rates/rate_targets.hpp"

#include <ATen/ATen.h>

#include "core/partition/section_blocks.hpp"

namespace blockwise {
namespace {

// Elements of every block, within the section.
std::vector<at::Tensor> elements_of_blocks(const PartitionSection& section) {
  const auto labels = at::tensor(labels_of(section), at::kLong);
  std::vector<at::Tensor> blocks;
  for (std::int64_t block = 0; block < section.block_count(); ++block) {
    blocks.push_back(labels.eq(block).nonzero().reshape({-1}));
  }
  return blocks;
}

}  // namespace

std::vector<RateTarget> rate_targets(const Partition& partition, const std::string& per) {
  std::vector<RateTarget> targets;
  for (std::size_t tensor = 0; tensor < partition.tensors().size(); ++tensor) {
    const auto& sections = partition.tensors()[tensor].sections;
    for (std::size_t number = 0; number < sections.size(); ++number) {
      const auto& section = sections[number];
      const auto first = section.row_begin * section.columns;
      if (per == "section" || section.structure.kind == Structure::Kind::elements) {
        const auto all = at::arange(section.size(), at::kLong);
        targets.push_back({tensor, number, -1, all + first});
        continue;
      }
      const auto blocks = elements_of_blocks(section);
      for (std::size_t block = 0; block < blocks.size(); ++block) {
        targets.push_back({tensor, number, std::int64_t(block), blocks[block] + first});
      }
    }
  }
  return targets;
}

std::vector<std::size_t> matrix_targets(const Partition& partition,
                                        const std::vector<RateTarget>& targets) {
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (section_of(partition, targets[i]).columns > 1) numbers.push_back(i);
  }
  return numbers;
}

const PartitionSection& section_of(const Partition& partition, const RateTarget& target) {
  return partition.tensors()[target.tensor].sections[target.section];
}

}  // namespace blockwise
