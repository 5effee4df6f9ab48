#include "optimizers/state/state.hpp"

#include <ATen/ATen.h>

namespace blockwise {

void State::store(std::size_t k, const at::Tensor& x) const {
  if (!tensors_[k].is_same(x)) tensors_[k].copy_(x);
}

void State::choose_size(std::size_t k, std::int64_t size) const {
  tensors_[k].set_(at::zeros({size}, tensors_[k].options()));
}

float* State::data(std::size_t k) const { return tensors_[k].data_ptr<float>(); }

}  // namespace blockwise
