// GradientBuckets: which gradients are there, by ranges of the flat buffer. A bucket is closed when
// all gradients with elements in it are there; buckets are closed from the last to the first, which
// is about the order of a backward pass, and the same on every rank.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/parallel/owners.hpp"
#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

using GradientBucket = ElementRange;

class GradientBuckets {
 public:
  using Close = std::function<void(std::size_t bucket)>;

  // Buckets of `elements`, the last one of each of the owners' units of what is left, whatever
  // tensors they are of.
  GradientBuckets(const ParameterLayout& layout, const Owners& owners, std::int64_t elements,
                  Close close);

  const std::vector<GradientBucket>& buckets() const { return buckets_; }
  // Buckets that a parameter has elements in.
  const std::vector<std::size_t>& of(std::size_t parameter) const { return of_[parameter]; }

  // Before a backward pass.
  void open();
  // A parameter's gradient is there; closes what is complete.
  void arrive(std::size_t parameter);
  // Behind it: tensors that no operation of the loss has read have no gradient, which is zero.
  void close_all();

 private:
  void close_complete();

  std::vector<GradientBucket> buckets_;
  std::vector<std::vector<std::size_t>> of_;
  std::vector<std::int64_t> tensors_, missing_;  // of each bucket
  std::size_t open_ = 0;                         // buckets [0, open_) are not closed
  Close close_;
};

}  // namespace blockwise
