#include "optimizers/state/state.hpp"

#include <ATen/ATen.h>

namespace blockwise {

void State::store(std::size_t k, const at::Tensor& x) const {
  if (!tensors_[k].is_same(x)) tensors_[k].copy_(x);
}

float* State::data(std::size_t k) const { return tensors_[k].data_ptr<float>(); }

}  // namespace blockwise
