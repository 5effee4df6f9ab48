// What a rule keeps for one parameter between its steps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

// What whoever stores a tensor of state in fewer bytes may assume of its values.
enum class StateUse {
  average,       // of signed values: first moments
  non_negative,  // second moments
  basis,         // orthonormal rows or columns
  accumulator,   // grows without bound, or must not lose small parts
  index          // whole numbers
};

// One tensor of state of one parameter; called NAME/PARAMETER where it is saved. Zero at first.
struct StateSpec {
  std::string name;
  std::vector<std::int64_t> shape;  // {r, n} a projector, {m, m} a factor, {} a scalar
  StateUse use = StateUse::average;
  at::ScalarType type = at::kFloat;

  std::int64_t size() const;  // elements
};

}  // namespace blockwise
