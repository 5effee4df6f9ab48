#include "core/parameters/parameter_subset.hpp"

#include <ATen/ATen.h>

#include <numeric>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

std::vector<std::size_t> all_blocks(const ParameterLayout& layout) {
  std::vector<std::size_t> blocks(layout.blocks().size());
  std::iota(blocks.begin(), blocks.end(), std::size_t{0});
  return blocks;
}

}  // namespace

ParameterSubset::ParameterSubset(const ParameterLayout& layout)
    : ParameterSubset(layout, all_blocks(layout)) {}

ParameterSubset::ParameterSubset(const ParameterLayout& layout, std::vector<std::size_t> blocks)
    : blocks_(std::move(blocks)) {
  require_input(!blocks_.empty(), "a subset of parameters holds no tensor");
  for (const auto index : blocks_) {
    const auto& block = layout.blocks().at(index);
    offsets_.push_back(size_);
    shapes_.push_back(block.shape);
    size_ += block.size();
  }
}

ParameterSubset ParameterSubset::matching(const ParameterLayout& layout,
                                          const std::function<bool(const ParameterBlock&)>& wanted,
                                          const std::string& what) {
  std::vector<std::size_t> blocks;
  for (std::size_t i = 0; i < layout.blocks().size(); ++i) {
    if (wanted(layout.blocks()[i])) blocks.push_back(i);
  }
  require_input(!blocks.empty(), "{}: no tensor of the model matches", what);
  return {layout, std::move(blocks)};
}

std::vector<at::Tensor> ParameterSubset::views(const at::Tensor& packed) const {
  check_equal(packed.numel(), size_, "length of a packed vector");
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto count = (i + 1 < offsets_.size() ? offsets_[i + 1] : size_) - offsets_[i];
    tensors.push_back(packed.narrow(0, offsets_[i], count).view(shapes_[i]));
  }
  return tensors;
}

void ParameterSubset::pack(const std::vector<at::Tensor>& tensors, const at::Tensor& packed) const {
  check_equal(tensors.size(), blocks_.size(), "tensors to pack");
  const auto places = views(packed);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (tensors[i].defined()) {
      places[i].copy_(tensors[i].detach());
    } else {
      places[i].zero_();
    }
  }
}

void ParameterSubset::add(const std::vector<at::Tensor>& tensors, const at::Tensor& packed) const {
  check_equal(tensors.size(), blocks_.size(), "tensors to add");
  const auto places = views(packed);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (tensors[i].defined()) places[i].add_(tensors[i].detach());
  }
}

}  // namespace blockwise
