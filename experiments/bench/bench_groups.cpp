#include "experiments/bench/bench_groups.hpp"

namespace blockwise {

const std::vector<NamedBenchGroup>& bench_groups() {
  static const std::vector<NamedBenchGroup> groups = {
      {"limits", "memory and matrix products of this machine", machine_limits},
      {"optimizers", "updates beside LibTorch's fused AdamW", optimizer_updates},
      {"codecs", "state as codes, written and read", state_codecs, true},
      {"products", "curvature products, in gradients", curvature_products},
      {"training", "steps of three models in float32 and bfloat16", training_steps}};
  return groups;
}

}  // namespace blockwise
