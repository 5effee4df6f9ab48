// How a token file is cut for its loss.
#pragma once

#include <cstdint>

namespace blockwise {

struct EvaluationOptions {
  std::int64_t sequence_length = 1024;
  std::int64_t batch_size = 8;  // windows per forward pass
};

}  // namespace blockwise
