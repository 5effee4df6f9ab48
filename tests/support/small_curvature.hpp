// Curvature of a small transformer in float64, for tests that compare with its dense Hessian.
#pragma once

#include <memory>

#include "core/curvature.hpp"
#include "tests/support/small_models.hpp"

namespace blockwise::testing {

struct SmallCurvature {
  SmallModel small = small_models()[1];  // GPT-2, untied: fused QKV
  std::unique_ptr<ModelSpec> spec = small.spec();
  ParameterStore store{spec->layout(), at::kCPU, at::kDouble};
  std::unique_ptr<Model> model;
  std::unique_ptr<Curvature> curvature;

  SmallCurvature() {
    store.initialize(3);
    model = spec->build(store);
    curvature = std::make_unique<Curvature>(*model, store, std::vector<Batch>{small_batch(small)});
  }
};

}  // namespace blockwise::testing
