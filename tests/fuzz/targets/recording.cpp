// Parameters and gradients that another program recorded, for `blockwise replay`.
#include "optimizers/recording.hpp"
#include "core/base/error.hpp"
#include "tests/fuzz/support.hpp"

using namespace blockwise;

FUZZ_TARGET(bytes) {
  static const fuzz::InputFolder folder;
  const auto recording = read_recording(folder.write("recording.safetensors", bytes));
  for (const auto& step : recording.steps) {
    check_equal(step.gradients.size(), recording.weights.size(), "gradients of a step");
    check_equal(step.curvature.size(), recording.weights.size(), "curvatures of a step");
  }
  for (const auto& [key, draw] : recording.draws) {
    check_equal(key.starts_with("random/") && draw.defined(), true, "a draw");
  }
}
