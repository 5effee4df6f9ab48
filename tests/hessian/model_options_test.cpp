// Every option of every family through the rehearsal of curvature products on the meta device,
// which `spectrum`, `partition` and `search-lr` begin with.
#include "tests/support/model_options.hpp"
#include "hessian/product_memory.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("Curvature products are rehearsed with every option of every family") {
  for (const auto& small : models_with_every_option()) {
    auto batch = small_batch(small);
    if (batch.inputs.is_floating_point()) batch.inputs = batch.inputs.to(at::kFloat);
    for (const auto kind : {CurvatureKind::hessian, CurvatureKind::gauss_newton}) {
      INFO(small.name);
      const auto memory =
          product_memory(*small.spec(), at::kFloat, batch, 2, {ProductMethod::kept_graph, kind});
      CHECK(memory.peak > memory.model);
    }
  }
}
