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
  // Above 0: the rule chooses how many values there are, once, from the first gradients: a divisor
  // of this number, at most the {bound} that `shape` says. No values until then; see
  // State::choose_size().
  std::int64_t chosen_from = 0;
  // Parameters whose state of this name has a turn, from 0 on, share memory for that of the largest
  // turn: what one turn wrote is gone when another has written. -1: memory of its own.
  std::int64_t turn = -1;

  std::int64_t size() const;  // elements, or their bound
  bool is_chosen_later() const { return chosen_from > 0; }
  // Whether saved state can have so many values: those of a parameter whose turn has not come, or
  // whose size is not chosen, are none.
  bool may_have(std::int64_t values) const {
    if (is_chosen_later()) return values == 0 || (values <= size() && chosen_from % values == 0);
    return values == size() || (values == 0 && turn >= 0);
  }
};

}  // namespace blockwise
