// Data sets that have examples which no choice may see: a run evaluates them once, after its last
// step. An interface beside Dataset (core/dataset.hpp), for those kinds that offer it.
#pragma once

#include <cstdint>

#include "core/base/batch.hpp"

namespace blockwise {

class TestSet {
 public:
  virtual ~TestSet() = default;
  // 0 where the configuration names none.
  virtual std::int64_t test_size() const = 0;
  virtual Batch test_examples(std::int64_t first, std::int64_t count) const = 0;
};

}  // namespace blockwise
