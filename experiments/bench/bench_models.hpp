// The models that products and training are timed on: GPT-2s, tied, with random tokens.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <span>

#include "core/base/batch.hpp"
#include "core/model.hpp"

namespace blockwise {

struct BenchModel {
  const char* name;  // its parameters
  std::int64_t width, layers, heads, vocabulary, length, sequences;
};

// From the smallest on.
std::span<const BenchModel> bench_models();
std::unique_ptr<ModelSpec> model_spec(const BenchModel& model);
// The same at every call.
Batch random_batch(const BenchModel& model, at::Device device);

}  // namespace blockwise
