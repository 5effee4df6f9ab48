// ParameterStore: a model's parameters and gradients as two flat buffers and the tensors that are
// views into them. LibTorch's autograd accumulates in place into a .grad that is already set, so
// the gradient buffer stays the one place that optimizers, products, checkpoints and sharding read.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "core/parameter_layout.hpp"

namespace blockwise {

class ParameterStore {
 public:
  // Both buffers are zero at first. Cost: 2 * layout.size() elements of the given dtype.
  ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype = at::kFloat);

  const ParameterLayout& layout() const { return layout_; }
  at::Device device() const { return parameters_.device(); }
  // [n] flat buffers; writing them writes the model.
  const at::Tensor& parameters() const { return parameters_; }
  const at::Tensor& gradients() const { return gradients_; }
  // Leaf tensors that require gradients, in the layout's order and shapes.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  const at::Tensor& tensor(std::string_view name) const { return tensors_[layout_.index_of(name)]; }

  // Draws every tensor as its block says from the stream `init`, each from a generator of its own,
  // so that adding a tensor does not change the others. Drawn on the CPU: equal on every device.
  void initialize(std::uint64_t seed);
  void zero_gradients();
  // Throws InvariantError when a .grad was replaced and the flat buffer no longer holds it.
  void check_gradient_views() const;

 private:
  ParameterLayout layout_;
  at::Tensor parameters_;
  at::Tensor gradients_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace blockwise
