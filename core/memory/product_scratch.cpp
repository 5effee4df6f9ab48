#include "core/memory/product_scratch.hpp"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>

#include "core/base/dense_product.hpp"

namespace blockwise {
namespace {

struct PeakCounter : public c10::MemoryReportingInfoBase {
  std::int64_t now = 0;
  std::int64_t peak = 0;

  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device) override {
    now += bytes;
    peak = std::max(peak, now);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

bool is_transposed(const at::Tensor& x) { return x.stride(0) == 1 && x.size(0) > 1; }

at::Tensor operand(std::int64_t rows, std::int64_t columns, bool transposed, at::ScalarType type) {
  const auto options = at::TensorOptions().dtype(type);
  return transposed ? at::zeros({columns, rows}, options).t() : at::zeros({rows, columns}, options);
}

using Shape = std::array<std::int64_t, 5>;

// Bytes at the peak of the product but for its operands and its result. Nobody else counts them.
template <typename Multiply>
std::int64_t measure(const Shape& shape, at::ScalarType type, Multiply multiply) {
  const auto counter = std::make_shared<PeakCounter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
  const at::NoGradGuard no_grad;
  const auto [m, k, n, a_transposed, b_transposed] = shape;
  const auto a = operand(m, k, a_transposed != 0, type), b = operand(k, n, b_transposed != 0, type);
  const auto before = counter->peak = counter->now;
  const auto y = multiply(a, b);
  return std::max<std::int64_t>(0, counter->peak - before - std::int64_t(y.nbytes()));
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) { return at::mm(a, b); }

at::Tensor product_of_layer(const at::Tensor& a, const at::Tensor& b) {
  return dense_product(a, b.t());
}

}  // namespace

std::int64_t ProductScratch::bytes_of(Shape shape, at::ScalarType type, Product multiply,
                                      Known& known) {
  constexpr double kMostProducts = double(1 << 28);
  while (double(shape[0]) * double(shape[1]) * double(shape[2]) > kMostProducts) {
    *std::max_element(shape.begin(), shape.begin() + 3) /= 2;
  }
  const auto found = known.find(shape);
  if (found != known.end()) return found->second;
  return known[shape] = measure(shape, type, multiply);
}

std::int64_t ProductScratch::bytes(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != at::kBFloat16 || b.scalar_type() != at::kBFloat16) return 0;
  return bytes_of({a.size(0), a.size(1), b.size(1), is_transposed(a), is_transposed(b)},
                  at::kBFloat16, product, known_);
}

std::int64_t ProductScratch::bytes_of_dense(const at::Tensor& x, const at::Tensor& weight) {
  const auto columns = x.size(-1);
  return bytes_of({x.numel() / columns, columns, weight.size(0), 0, is_transposed(weight.t())},
                  at::kFloat, product_of_layer, known_dense_);
}

}  // namespace blockwise
