#pragma once

#include <cstddef>

namespace blockwise {

// Who fetches the weights of layers that are there only while they are computed. A pass enters its
// layers from the first to the last, and its backward pass from the last to the first.
class LayerWeights {
 public:
  virtual ~LayerWeights() = default;
  // Before and after a layer's forward pass.
  virtual void enter_forward(std::size_t layer) = 0;
  virtual void leave_forward(std::size_t layer) = 0;
  // Before its backward pass; those behind it have had theirs.
  virtual void enter_backward(std::size_t layer) = 0;
};

}  // namespace blockwise
