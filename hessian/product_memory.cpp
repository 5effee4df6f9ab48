#include "hessian/product_memory.hpp"

#include <ATen/ATen.h>

#include "core/meta_memory.hpp"

namespace blockwise {
namespace {

std::vector<Batch> on_meta(const std::vector<Batch>& batches) {
  std::vector<Batch> meta;
  for (const auto& batch : batches) {
    meta.push_back({at::empty(batch.inputs.sizes(), batch.inputs.options().device(at::kMeta)),
                    at::empty(batch.targets.sizes(), batch.targets.options().device(at::kMeta))});
  }
  return meta;
}

}  // namespace

ProductMemory product_memory(const ModelSpec& spec, at::ScalarType dtype,
                             const std::vector<Batch>& batches, ProductMethod method,
                             CurvatureKind kind) {
  MetaMemory memory;
  ParameterStore store(spec.layout(), at::kMeta, dtype);
  const auto model = spec.build(store);
  const auto meta = on_meta(batches);
  const auto fixed = memory.allocated();
  Curvature curvature(*model, store, meta, method);
  const CurvatureOperator a(curvature, kind, ParameterSubset(store.layout()));
  const auto v = at::empty({a.columns()}, a.options());
  const auto y = at::empty_like(v);
  const auto vectors = static_cast<std::int64_t>(v.nbytes() + y.nbytes());
  a.apply(v, y);  // makes what later ones keep
  const auto resident = memory.allocated() - fixed - vectors;
  const auto first = memory.peak();
  memory.reset_peak();
  a.apply(v, y);
  return {fixed, resident, std::max(first, memory.peak())};
}

double product_cost(ProductMethod method, CurvatureKind kind) {
  if (kind != CurvatureKind::hessian) return 2.0;
  switch (method) {
    case ProductMethod::kept_graph:
    case ProductMethod::central_difference:
      return 2.0;
    case ProductMethod::fresh_graph:
      return 3.0;
    case ProductMethod::finite_difference:
      return 1.0;
  }
  return 0.0;
}

}  // namespace blockwise
