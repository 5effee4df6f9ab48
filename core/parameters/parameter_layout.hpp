// ParameterLayout: the ordered parameter tensors of a model, covering [0, size) of one flat buffer
// without gaps. Tied tensors appear once. Immutable after construction.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/parameters/parameter.hpp"

namespace blockwise {

class ParameterLayout {
 public:
  ParameterLayout() = default;
  // Sets the offsets. Throws InputError naming the parameter for an empty shape, an axis below 1, a
  // repeated name, fused sections whose rows do not add up, or heads that do not divide their axis;
  // and where a tensor, or all of them, have more than 2^48 elements.
  explicit ParameterLayout(std::vector<Parameter> parameters);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::int64_t size() const { return size_; }  // elements
  // Index of the parameter with this name or tied name. Throws InputError when there is none.
  std::size_t index_of(std::string_view name) const;
  // One more than the last layer that a parameter is in; 0 where all are outside layers.
  std::int64_t layer_count() const;

 private:
  std::vector<Parameter> parameters_;
  std::int64_t size_ = 0;
};

}  // namespace blockwise
