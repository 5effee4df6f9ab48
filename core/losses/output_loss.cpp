#include "core/losses/output_loss.hpp"

#include <ATen/ATen.h>

#include "core/base/batch.hpp"
#include "core/losses/differentiable_cross_entropy.hpp"

namespace blockwise {
namespace {

class CrossEntropyLoss : public OutputLoss {
 public:
  std::int64_t counted(const at::Tensor& targets) const override {
    if (targets.is_meta()) return targets.numel();
    return targets.ne(kIgnoredTarget).sum().item<std::int64_t>();
  }
  at::Tensor mean(const at::Tensor& z, const at::Tensor& targets,
                  const at::Tensor& count) const override {
    return differentiable_cross_entropy(z, targets.reshape({-1}), count);
  }
  at::Tensor rows(const at::Tensor& z, const at::Tensor& targets) const override {
    const auto flat = targets.reshape({-1});
    const auto picked = z.gather(1, flat.clamp_min(0).unsqueeze(1)).squeeze(1);
    return (at::logsumexp(z, {1}) - picked) * flat.ne(kIgnoredTarget);
  }
  at::Tensor hessian_product(const at::Tensor& z, const at::Tensor& targets,
                             const at::Tensor& count, const at::Tensor& u) const override {
    return cross_entropy_hessian_product(at::softmax(z, 1),
                                         target_weights(targets.reshape({-1}), count), u);
  }
};

class SquaredNormLoss : public OutputLoss {
 public:
  std::int64_t counted(const at::Tensor& targets) const override { return targets.numel(); }
  at::Tensor mean(const at::Tensor& z, const at::Tensor&, const at::Tensor& count) const override {
    return z.square().sum() / count;
  }
  at::Tensor rows(const at::Tensor& z, const at::Tensor&) const override {
    return z.square().sum(1);
  }
  at::Tensor hessian_product(const at::Tensor&, const at::Tensor&, const at::Tensor& count,
                             const at::Tensor& u) const override {
    return 2.0 * u / count;
  }
};

}  // namespace

const OutputLoss& squared_norm_loss() {
  static const SquaredNormLoss loss;
  return loss;
}

const OutputLoss& cross_entropy_loss() {
  static const CrossEntropyLoss loss;
  return loss;
}

}  // namespace blockwise
