// The loss as a function of a model's outputs, with what products with curvature need of it.
//
// Outputs are rows z [N, C]. L = sum over the rows that count of l(z_i, t_i), over `count`, a 0-d
// tensor of the outputs' type: the rows that count in all batches together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace blockwise {

class OutputLoss {
 public:
  virtual ~OutputLoss() = default;
  // Rows that count. On the meta device, where nothing has a value, all of them.
  virtual std::int64_t counted(const at::Tensor& targets) const = 0;
  // L, a scalar that differentiates twice.
  virtual at::Tensor mean(const at::Tensor& z, const at::Tensor& targets,
                          const at::Tensor& count) const = 0;
  // l [N] of every row; 0 where it does not count.
  virtual at::Tensor rows(const at::Tensor& z, const at::Tensor& targets) const = 0;
  // (d2 L / d z2) u for u [N, C]; z without a graph.
  virtual at::Tensor hessian_product(const at::Tensor& z, const at::Tensor& targets,
                                     const at::Tensor& count, const at::Tensor& u) const = 0;
};

// l = -log softmax(z)_t in nats; targets int64, any shape of N elements, kIgnoredTarget does not
// count.
const OutputLoss& cross_entropy_loss();

// l = ||z||^2; targets are only counted. For functions of the parameters alone.
const OutputLoss& squared_norm_loss();

}  // namespace blockwise
