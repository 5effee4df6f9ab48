#pragma once

#include <cstdint>

namespace blockwise {

// Elements [begin, end) of a layout's flat buffer.
struct ElementRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

}  // namespace blockwise
