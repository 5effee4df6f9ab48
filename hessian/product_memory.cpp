#include "hessian/product_memory.hpp"

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/memory/meta_memory.hpp"

namespace blockwise {
namespace {

at::Tensor on_meta(const at::Tensor& x) {
  return at::empty(x.sizes(), x.options().device(at::kMeta));
}

ProductMemory product_on_meta(const ModelSpec& spec, at::ScalarType dtype,
                              const std::vector<Batch>& batches, const ProductKind& kind) {
  MetaMemory memory;
  ParameterStore store(spec.layout(), at::kMeta, dtype);
  const auto model = spec.build(store);
  std::vector<Batch> meta;
  for (const auto& batch : batches) {
    meta.push_back({on_meta(batch.inputs), on_meta(batch.targets)});
  }
  const auto fixed = memory.allocated();
  memory.put_in_files(kind.files_from);
  Curvature curvature(*model, store, meta, kind.method);
  measure_only(kind.curvature, curvature);
  const ParameterSubset all(store.layout());
  const CurvatureOperator a(curvature, kind.curvature, all);
  // Of differences the step comes first, as it does in a measurement: before there are vectors.
  if (is_difference(kind.method)) curvature.difference_step(all);
  const auto v = at::empty({a.columns()}, a.options());
  const auto y = at::empty_like(v);
  const auto vectors = static_cast<std::int64_t>(v.nbytes() + y.nbytes());
  curvature.gradient();  // a measurement records the loss
  a.apply(v, y);         // makes what later ones keep
  const auto resident = memory.allocated() + memory.allocated_in_files() - fixed - vectors;
  const auto first = memory.peak();
  memory.reset_peak();
  a.apply(v, y);
  return {fixed, resident, std::max(first, memory.peak()), memory.peak_in_files(), ""};
}

ProductMemory rehearsed(const ModelSpec& spec, at::ScalarType dtype, const Batch& batch,
                        std::int64_t batches, const ProductKind& kind) {
  const auto one = product_on_meta(spec, dtype, {batch}, kind);
  if (batches < 2) return one;
  const auto two = product_on_meta(spec, dtype, {batch, batch}, kind);
  const auto all = [&](std::int64_t of_one, std::int64_t of_two) {
    const auto each = std::max<std::int64_t>(0, of_two - of_one);
    return checked_sum("hessian.batches x bytes", of_one,
                       checked_product("hessian.batches x bytes", {batches - 1, each}));
  };
  return {two.model, all(one.resident, two.resident), all(one.peak, two.peak),
          all(one.files, two.files), ""};
}

// Parameters, their gradients and two vectors.
ProductMemory what_lasts(const ModelSpec& spec, at::ScalarType dtype, std::int64_t files_from) {
  const auto vector =
      checked_product("bytes of a vector",
                      {spec.layout().size(), static_cast<std::int64_t>(c10::elementSize(dtype))});
  const auto in_files = vector >= files_from ? 2 * vector : 0;
  return {2 * vector, 0, 4 * vector - in_files, in_files, ""};
}

}  // namespace

std::string in_files(const ProductMemory& memory) {
  if (memory.files == 0) return "";
  return fmt::format(", {:.3f} GiB in files", double(memory.files) / double(1 << 30));
}

const char* const kSmallerProducts =
    "hessian.batches or hessian.batch_size, hessian.method fresh_graph or finite_difference";

ProductMemory product_memory(const ModelSpec& spec, at::ScalarType dtype, const Batch& batch,
                             std::int64_t batches, const ProductKind& kind) {
  ProductMemory memory;
  const auto note = rehearse([&] { memory = rehearsed(spec, dtype, batch, batches, kind); });
  if (!note.empty()) memory = what_lasts(spec, dtype, kind.files_from);
  memory.note = note;
  return memory;
}

double product_cost(ProductMethod method, CurvatureKind kind) {
  if (kind != CurvatureKind::hessian) return outer_product_cost(method);
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

double calibration_cost(ProductMethod method) {
  if (!is_difference(method)) return 0.0;
  return kOneSidedCalibration + kWantedCalibration * product_cost(method, CurvatureKind::hessian);
}

}  // namespace blockwise
