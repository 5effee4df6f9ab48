// The groups of `blockwise bench`. Adding one is a function here, a line in bench_groups() and its
// name in bench_request.hpp.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/bench/bench_case.hpp"
#include "experiments/bench/bench_request.hpp"

namespace blockwise {

struct BenchSubject : BenchSizes {
  at::Device device = at::kCPU;
};

// Copy and triad over twice the caches, matrix products of the training cases' shapes.
BenchGroup machine_limits(const BenchSubject& sizes);
// One step's kernels over many tensors and over one, beside LibTorch's fused AdamW. On another
// device than the CPU, of the rules that have kernels there.
BenchGroup optimizer_updates(const BenchSubject& sizes);
// A state written as codes and read again, by the CPU's kernels.
BenchGroup state_codecs(const BenchSubject& sizes);
// Curvature products, in gradients of the same model.
BenchGroup curvature_products(const BenchSubject& sizes);
// Forward, backward and AdamW, as a share of what the machine's matrix products reach.
BenchGroup training_steps(const BenchSubject& sizes);

struct NamedBenchGroup {
  std::string_view name, doc;  // kBenchGroups'
  BenchGroup (*make)(const BenchSubject& sizes);
  bool on_cpu_alone = false;
};
const std::vector<NamedBenchGroup>& bench_groups();

}  // namespace blockwise
