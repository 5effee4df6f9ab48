#include "core/models/checkpointed_layer.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "core/base/error.hpp"
#include "core/base/layer_weights.hpp"

namespace blockwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// What the second pass needs beside x.
struct Recomputation : public torch::CustomClassHolder {
  std::size_t index;
  LayerFunction layer;
  ForwardContext context;
  at::Tensor generator_state;  // before the first pass; undefined without dropout

  Recomputation(std::size_t index_, LayerFunction layer_, const ForwardContext& context_)
      : index(index_), layer(std::move(layer_)), context(context_) {
    if (context.dropout) generator_state = context.dropout->get_state();
    context.checkpoint_layers = false;
  }

  at::Tensor run(const at::Tensor& x) {
    ForwardContext again = context;
    if (again.layer_weights != nullptr) again.layer_weights->enter_backward(index);
    if (again.dropout) {
      again.dropout = again.dropout->clone();
      again.dropout->set_state(generator_state);
    }
    return layer(x, again);
  }
};

class CheckpointedLayer : public torch::autograd::Function<CheckpointedLayer> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x,
                          const c10::intrusive_ptr<Recomputation>& recomputation) {
    context->save_for_backward({x});
    context->saved_data["layer"] = c10::IValue::make_capsule(recomputation);
    return recomputation->layer(x, recomputation->context);
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    if (at::GradMode::is_enabled()) {
      throw InvariantError(
          "a checkpointed layer was differentiated twice: compute Hessians without "
          "checkpoint_layers");
    }
    auto& recomputation = static_cast<Recomputation&>(*context->saved_data["layer"].toCapsule());
    const at::AutoGradMode with_graph(true);
    const auto x = context->get_saved_variables()[0].detach().requires_grad_(true);
    torch::autograd::backward({recomputation.run(x)}, {outputs[0]});
    return {x.grad(), Variable()};
  }
};

struct WeightsOfLayer : public torch::CustomClassHolder {
  LayerWeights& weights;
  std::size_t index;
  WeightsOfLayer(LayerWeights& weights_, std::size_t index_) : weights(weights_), index(index_) {}
};

// The identity, behind a layer: its backward pass comes before the layer's own.
class WeightsAgain : public torch::autograd::Function<WeightsAgain> {
 public:
  static Variable forward(AutogradContext* context, const Variable& y,
                          const c10::intrusive_ptr<WeightsOfLayer>& of) {
    context->saved_data["of"] = c10::IValue::make_capsule(of);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    auto& of = static_cast<WeightsOfLayer&>(*context->saved_data["of"].toCapsule());
    of.weights.enter_backward(of.index);
    return {outputs[0], Variable()};
  }
};

at::Tensor run_or_checkpoint(std::size_t index, const LayerFunction& layer, const at::Tensor& x,
                             ForwardContext& context) {
  // Nothing asks for dL/dx of the first layer of an MLP, so nothing would call its backward pass.
  const bool graph = at::GradMode::is_enabled() && x.requires_grad();
  if (context.checkpoint_layers && graph) {
    return CheckpointedLayer::apply(x, c10::make_intrusive<Recomputation>(index, layer, context));
  }
  const auto y = layer(x, context);
  if (context.layer_weights == nullptr || !at::GradMode::is_enabled()) return y;
  return WeightsAgain::apply(y, c10::make_intrusive<WeightsOfLayer>(*context.layer_weights, index));
}

}  // namespace

at::Tensor run_layer(std::size_t index, const LayerFunction& layer, const at::Tensor& x,
                     ForwardContext& context) {
  if (context.layer_weights == nullptr) return run_or_checkpoint(index, layer, x, context);
  context.layer_weights->enter_forward(index);
  auto y = run_or_checkpoint(index, layer, x, context);
  context.layer_weights->leave_forward(index);
  return y;
}

}  // namespace blockwise
