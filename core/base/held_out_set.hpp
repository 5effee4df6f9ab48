// Examples that are never trained on: validation sets, which choices go by, and the test set, which
// no choice sees.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/batch.hpp"

namespace blockwise {

struct HeldOutSet {
  std::string name;  // what messages and records call it
  std::int64_t size = 0;
  // Examples first .. first + count - 1 of `size`; the same at every evaluation of every run. Lives
  // no longer than the data set that it is of.
  std::function<Batch(std::int64_t first, std::int64_t count)> examples;
};

}  // namespace blockwise
