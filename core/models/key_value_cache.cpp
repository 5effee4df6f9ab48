#include "core/models/key_value_cache.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"

namespace blockwise {

KeyValueCache::KeyValueCache(std::int64_t layers, std::int64_t capacity)
    : capacity_(capacity), layers_(static_cast<std::size_t>(layers)) {}

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(std::size_t layer, const at::Tensor& k,
                                                        const at::Tensor& v) {
  const auto end = length_ + k.size(2);
  if (end > capacity_) {
    throw InvariantError(fmt::format("a cache for {} positions got {}", capacity_, end));
  }
  auto& [keys, values] = layers_[layer];
  if (!keys.defined()) {
    const std::vector<std::int64_t> shape = {k.size(0), k.size(1), capacity_, k.size(3)};
    keys = at::empty(shape, k.options());
    values = at::empty(shape, v.options());
  }
  keys.narrow(2, length_, k.size(2)).copy_(k);
  values.narrow(2, length_, v.size(2)).copy_(v);
  return {keys.narrow(2, 0, end), values.narrow(2, 0, end)};
}

}  // namespace blockwise
