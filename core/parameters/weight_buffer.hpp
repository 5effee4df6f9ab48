// WeightBuffer: what a model computes with of one unit of its parameters, where the masters are
// elsewhere: a flat buffer of those that are bfloat16 and one of those that are float32, and the
// leaf tensors that are views into them. Its memory may be given back and taken again: the tensors,
// and what a graph has saved of them, stay the same tensors (as in Zhao et al., PyTorch FSDP, arXiv
// 2304.11277, section 3.2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "core/parameters/weight_units.hpp"

namespace blockwise {

class WeightBuffer {
 public:
  // kept: by parameter of the layout, float32 (the type of the options) and not bfloat16. Zero at
  // first.
  WeightBuffer(const ParameterLayout& layout, const WeightUnit& unit, const std::vector<bool>& kept,
               const at::TensorOptions& options);

  const WeightUnit& unit() const { return unit_; }
  // Leaf tensors in the parameters' shapes, of unit().first and those behind it.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  std::int64_t bytes() const;

  // Gives the memory back; takes it, with any values.
  void drop();
  void take();

  // The flat buffers, and in each the bounds that `bounds` of the layout's flat buffer, within this
  // unit, are there.
  struct Shared {
    at::Tensor values;
    std::vector<std::int64_t> bounds;
  };
  std::vector<Shared> shared(const std::vector<std::int64_t>& bounds) const;

 private:
  struct Kind {
    bool kept;
    at::Tensor values;
  };
  std::int64_t elements_before(std::int64_t place, bool kept) const;

  WeightUnit unit_;
  std::vector<ElementRange> ranges_;  // of the parameters, in the layout's flat buffer
  std::vector<bool> kept_;            // of the parameters
  std::vector<Kind> kinds_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace blockwise
