#include "core/base/dense_product.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <optional>

namespace blockwise {
namespace {

constexpr double kFewestProducts = double(1 << 25);

// Called by its schema: its C++ signature is no part of LibTorch's interface.
const std::optional<c10::OperatorHandle>& onednn_linear() {
  static const auto operation =
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  return operation;
}

// Rows or columns without gaps.
at::Tensor packed(const at::Tensor& weight) {
  return weight.is_contiguous() || weight.t().is_contiguous() ? weight : weight.contiguous();
}

at::Tensor by_onednn(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const c10::List<std::optional<at::Scalar>> none;
  torch::jit::Stack stack;
  stack.emplace_back(x);
  stack.emplace_back(weight);
  stack.emplace_back(bias.defined() ? c10::IValue(bias) : c10::IValue());
  stack.emplace_back("none");  // nothing is applied to the sums
  stack.emplace_back(none);
  stack.emplace_back("");
  onednn_linear()->callBoxed(&stack);
  return stack.front().toTensor();
}

}  // namespace

bool has_dense_products() { return onednn_linear().has_value(); }

bool is_dense_product(const at::Tensor& x, const at::Tensor& weight) {
  const bool is_float = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat;
  const bool is_here = x.is_cpu() || x.is_meta();
  return is_float && is_here && double(x.numel()) * double(weight.size(0)) >= kFewestProducts &&
         has_dense_products();
}

at::Tensor dense_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!is_dense_product(x, weight)) return at::linear(x, weight, bias);
  const auto rows = x.contiguous(), columns = packed(weight);
  if (!x.is_meta()) return by_onednn(rows, columns, bias);
  RECORD_FUNCTION(kDenseProduct, std::vector<c10::IValue>({rows, columns}));
  return at::linear(rows, columns, bias);
}

}  // namespace blockwise
