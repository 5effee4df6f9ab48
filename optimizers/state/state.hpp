// State: the tensors that a rule keeps for one parameter, by their number in UpdateRule::state().
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace blockwise {

class State {
 public:
  State() = default;
  explicit State(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {}

  std::size_t size() const { return tensors_.size(); }
  // In the spec's shape. What is written into it is stored.
  const at::Tensor& load(std::size_t k) const { return tensors_[k]; }
  // Nothing to do for what load() returned.
  void store(std::size_t k, const at::Tensor& x) const;
  // The number of values of a tensor whose spec leaves it to the rule: zeros, [size]. Everyone who
  // holds this state sees it.
  void choose_size(std::size_t k, std::int64_t size) const;
  // For kernels: the values, row-major. Only float32 on the CPU.
  float* data(std::size_t k) const;

 private:
  std::vector<at::Tensor> tensors_;
};

}  // namespace blockwise
