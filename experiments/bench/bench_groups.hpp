// The groups of `blockwise bench`. Adding one is a function here and a line in bench_groups().
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/bench/bench_case.hpp"

namespace blockwise {

struct BenchSizes {
  std::int64_t parameters = 30'000'000;  // of the optimizers' and codecs' cases, about
  std::int64_t models = 3;               // that training has, from the smallest on
  at::Device device = at::kCPU;
};

// Copy and triad over twice the caches, matrix products of the training cases' shapes.
BenchGroup machine_limits(const BenchSizes& sizes);
// One step's kernels over many tensors and over one, beside LibTorch's fused AdamW. On another
// device than the CPU, of the rules that have kernels there.
BenchGroup optimizer_updates(const BenchSizes& sizes);
// A state written as codes and read again, by the CPU's kernels.
BenchGroup state_codecs(const BenchSizes& sizes);
// Curvature products, in gradients of the same model.
BenchGroup curvature_products(const BenchSizes& sizes);
// Forward, backward and AdamW, as a share of what the machine's matrix products reach.
BenchGroup training_steps(const BenchSizes& sizes);

struct NamedBenchGroup {
  std::string_view name, doc;
  BenchGroup (*make)(const BenchSizes& sizes);
  bool on_cpu_alone = false;
};
const std::vector<NamedBenchGroup>& bench_groups();

}  // namespace blockwise
