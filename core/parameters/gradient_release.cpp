#include "core/parameters/gradient_release.hpp"

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace blockwise {
namespace {

class ReleaseHook : public torch::autograd::PostAccumulateGradHook {
 public:
  ReleaseHook(std::size_t parameter, std::shared_ptr<const GradientRelease::Use> use)
      : parameter_(parameter), use_(std::move(use)) {}

  void operator()(const at::Tensor& tensor) override {
    // All parameters are views of one buffer and share its version counter: an update of one in
    // place would invalidate what the graph has saved of the others, which it does not touch.
    const at::AutoDispatchBelowADInplaceOrView unversioned;
    const auto gradient = tensor.grad().contiguous();
    tensor.mutable_grad().reset();
    (*use_)(parameter_, gradient);
  }

 private:
  std::size_t parameter_;
  std::shared_ptr<const GradientRelease::Use> use_;
};

}  // namespace

GradientRelease::GradientRelease(const ParameterStore& store, Use use) : store_(store) {
  const auto shared = std::make_shared<const Use>(std::move(use));
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(store.tensors()[i],
                                                   std::make_unique<ReleaseHook>(i, shared));
  }
}

GradientRelease::~GradientRelease() {
  for (const auto& tensor : store_.tensors()) {
    torch::autograd::impl::set_post_acc_grad_hooks(tensor, nullptr);
  }
}

}  // namespace blockwise
