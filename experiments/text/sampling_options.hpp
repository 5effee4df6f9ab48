// How text is sampled.
#pragma once

#include <cstdint>

namespace blockwise {

struct SamplingOptions {
  double temperature = 1.0;  // logits are divided by it; 0 takes the likeliest token
  std::int64_t top_k = 0;    // only the k likeliest; 0: all
  double top_p = 1.0;        // only the likeliest that hold this probability together
  std::int64_t tokens = 200;
  std::uint64_t seed = 1;
};

}  // namespace blockwise
