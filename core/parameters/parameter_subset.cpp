#include "core/parameters/parameter_subset.hpp"

#include <ATen/ATen.h>

#include <numeric>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

std::vector<std::size_t> all_parameters(const ParameterLayout& layout) {
  std::vector<std::size_t> parameters(layout.parameters().size());
  std::iota(parameters.begin(), parameters.end(), std::size_t{0});
  return parameters;
}

}  // namespace

ParameterSubset::ParameterSubset(const ParameterLayout& layout)
    : ParameterSubset(layout, all_parameters(layout)) {}

ParameterSubset::ParameterSubset(const ParameterLayout& layout, std::vector<std::size_t> parameters)
    : parameters_(std::move(parameters)) {
  require_input(!parameters_.empty(), "a subset of parameters holds no tensor");
  for (const auto index : parameters_) {
    const auto& parameter = layout.parameters().at(index);
    offsets_.push_back(size_);
    shapes_.push_back(parameter.shape);
    size_ += parameter.size();
  }
}

ParameterSubset ParameterSubset::matching(const ParameterLayout& layout,
                                          const std::function<bool(const Parameter&)>& wanted,
                                          const std::string& what) {
  std::vector<std::size_t> parameters;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    if (wanted(layout.parameters()[i])) parameters.push_back(i);
  }
  require_input(!parameters.empty(), "{}: no tensor of the model matches", what);
  return {layout, std::move(parameters)};
}

std::vector<at::Tensor> ParameterSubset::views(const at::Tensor& packed) const {
  check_equal(packed.numel(), size_, "length of a packed vector");
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto count = (i + 1 < offsets_.size() ? offsets_[i + 1] : size_) - offsets_[i];
    tensors.push_back(packed.narrow(0, offsets_[i], count).view(shapes_[i]));
  }
  return tensors;
}

void ParameterSubset::pack(const std::vector<at::Tensor>& tensors, const at::Tensor& packed) const {
  check_equal(tensors.size(), parameters_.size(), "tensors to pack");
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
  check_equal(tensors.size(), parameters_.size(), "tensors to add");
  const auto places = views(packed);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (tensors[i].defined()) places[i].add_(tensors[i].detach());
  }
}

}  // namespace blockwise
