// ParameterSubset: some tensors of a layout, side by side in one packed vector: the space that an
// operator on named parameters acts on. All tensors make the whole parameter vector.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

class ParameterSubset {
 public:
  // Every tensor.
  explicit ParameterSubset(const ParameterLayout& layout);
  // Indices into layout.parameters(), ascending. Throws InputError when there is none.
  ParameterSubset(const ParameterLayout& layout, std::vector<std::size_t> parameters);
  // The parameters for which `wanted` says true. Throws InputError with `what` when it never does.
  static ParameterSubset matching(const ParameterLayout& layout,
                                  const std::function<bool(const Parameter&)>& wanted,
                                  const std::string& what);

  std::int64_t size() const { return size_; }  // elements
  const std::vector<std::size_t>& parameters() const { return parameters_; }
  // First element of the i-th chosen tensor in the packed vector.
  std::int64_t offset(std::size_t i) const { return offsets_[i]; }
  // Views of a packed vector [size()] in the tensors' shapes.
  std::vector<at::Tensor> views(const at::Tensor& packed) const;
  // A packed vector out of tensors, one per chosen parameter; an undefined one counts as zeros.
  void pack(const std::vector<at::Tensor>& tensors, const at::Tensor& packed) const;
  // packed += the same.
  void add(const std::vector<at::Tensor>& tensors, const at::Tensor& packed) const;

 private:
  std::vector<std::size_t> parameters_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::int64_t size_ = 0;
};

}  // namespace blockwise
