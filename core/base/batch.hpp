// One micro-batch as a data set hands it to a model, on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blockwise {

// Targets with this value do not count, neither in the loss nor in the number of targets.
inline constexpr std::int64_t kIgnoredTarget = -100;

struct Batch {
  at::Tensor inputs;   // int64 [B, T] tokens, or float [B, features]
  at::Tensor targets;  // int64 [B, T], or [B] classes
  std::int64_t tokens() const { return targets.numel(); }
};

// What a data set feeds and asks for; a model adapts to it or refuses.
struct DataShape {
  enum class Inputs { tokens, vectors };
  Inputs inputs = Inputs::tokens;
  std::int64_t classes = 0;          // vocabulary, or number of classes
  std::int64_t features = 0;         // vectors only
  std::int64_t sequence_length = 1;  // targets per example
};

}  // namespace blockwise
