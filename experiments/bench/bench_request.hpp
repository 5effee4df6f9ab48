// What `blockwise bench` can be asked for.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace blockwise {

struct BenchGroupName {
  std::string_view name, doc;
  bool on_cpu_alone = false;
};
inline constexpr std::array<BenchGroupName, 5> kBenchGroups = {
    {{"limits", "memory and matrix products of this machine"},
     {"optimizers", "updates beside LibTorch's fused AdamW"},
     {"codecs", "state as codes, written and read", true},
     {"products", "curvature products, in gradients"},
     {"training", "steps of three models in float32 and bfloat16"}}};

struct BenchSizes {
  std::int64_t parameters = 30'000'000;  // of the optimizers' and codecs' cases, about
  std::int64_t tensors = 2000;           // of the optimizers' cases of many small tensors
  std::int64_t models = 3;               // that training has, from the smallest on
};

struct BenchLength {
  int repetitions = 5;
  double seconds = 0.1;  // of one repetition, at least
};

}  // namespace blockwise
