// Keys and values of the positions that a model has seen, so that each new token costs one position
// and not the whole sequence.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace blockwise {

class KeyValueCache {
 public:
  // Room for `capacity` positions of `layers` layers; memory is taken when a layer first appends:
  // 2 * layers * B * H_kv * capacity * D elements.
  KeyValueCache(std::int64_t layers, std::int64_t capacity);

  std::int64_t length() const { return length_; }  // positions held
  std::int64_t capacity() const { return capacity_; }
  // Puts k and v [B, H_kv, T, D] of a layer behind what is there; returns all of them
  // [B, H_kv, length() + T, D]. Throws InvariantError above the capacity.
  std::pair<at::Tensor, at::Tensor> append(std::size_t layer, const at::Tensor& k,
                                           const at::Tensor& v);
  // The T positions that every layer has appended count from now on.
  void advance(std::int64_t positions) { length_ += positions; }

 private:
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<std::pair<at::Tensor, at::Tensor>> layers_;
};

}  // namespace blockwise
