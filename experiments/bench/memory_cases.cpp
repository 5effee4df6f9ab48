#include "experiments/bench/memory_cases.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/base/dense_product.hpp"
#include "experiments/bench/bench_groups.hpp"

namespace blockwise {

BenchCase copy_case(std::int64_t elements, at::Device device) {
  const auto a = at::zeros({elements}, device), b = at::ones({elements}, device);
  return {.name = "copy", .run = [a, b] { a.copy_(b); }, .bytes = 8.0 * double(elements)};
}

BenchCase triad_case(std::int64_t elements, at::Device device) {
  auto a = at::zeros({elements}, device);
  const auto b = at::ones({elements}, device), c = at::ones({elements}, device);
  return {.name = "triad",
          .run = [a, b, c]() mutable { at::add_out(a, b, c, 0.5); },
          .bytes = 12.0 * double(elements)};
}

BenchCase product_case(const std::string& name, const ProductShape& shape, c10::ScalarType type,
                       at::Device device) {
  const auto a = at::ones({shape.rows, shape.inner}, device).to(type);
  const auto b = at::ones({shape.columns, shape.inner}, device).to(type);
  return {.name = name,
          .run = [a, b]() { dense_product(a, b); },
          .flops = 2.0 * double(shape.rows) * double(shape.inner) * double(shape.columns)};
}

BenchGroup machine_limits(const BenchSubject& sizes) {
  const auto elements = sizes.parameters;
  BenchGroup group{"limits",
                   {copy_case(elements, sizes.device), triad_case(elements, sizes.device)}};
  const std::pair<const char*, ProductShape> shapes[] = {
      {"attention", {1024, 512, 1536}}, {"MLP", {1024, 512, 2048}}, {"head", {1024, 512, 50304}}};
  for (const auto& [what, shape] : shapes) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const auto name = fmt::format("{} {}", what, type == at::kFloat ? "float32" : "bfloat16");
      group.cases.push_back(product_case(name, shape, type, sizes.device));
    }
  }
  return group;
}

}  // namespace blockwise
