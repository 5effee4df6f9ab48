// The groups of `blockwise bench`. Adding one is a function here, a line in bench_groups() and its
// name in bench_request.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/bench/bench_case.hpp"
#include "experiments/bench/bench_request.hpp"

namespace blockwise {

// Copy and triad over twice the caches, matrix products of the training cases' shapes.
BenchGroup machine_limits(const BenchSizes& sizes);
// One step's kernels over many tensors and over one, beside LibTorch's fused AdamW.
BenchGroup optimizer_updates(const BenchSizes& sizes);
// A state written as codes and read again.
BenchGroup state_codecs(const BenchSizes& sizes);
// Curvature products, in gradients of the same model.
BenchGroup curvature_products(const BenchSizes& sizes);
// Forward, backward and AdamW, as a share of what the machine's matrix products reach.
BenchGroup training_steps(const BenchSizes& sizes);

struct NamedBenchGroup {
  std::string_view name, doc;  // kBenchGroups'
  BenchGroup (*make)(const BenchSizes& sizes);
};
const std::vector<NamedBenchGroup>& bench_groups();

}  // namespace blockwise
