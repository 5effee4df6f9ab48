// Activation checkpointing of one layer (Chen et al., arXiv 1604.06174, with one segment per
// layer).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "core/model.hpp"

namespace blockwise {

// x -> y; also reads parameters, which are leaves that accumulate their gradients.
using LayerFunction = std::function<at::Tensor(const at::Tensor& x, ForwardContext& context)>;

// Layer number `index` of its model. layer(x, context), with its weights fetched where the context
// says by whom, in the backward pass again; or, where the context asks for it and a graph is being
// made, the same with only x kept: the backward pass runs the layer again with the dropout
// generator as it was, so values and gradients are bit-equal. Parameters get their gradients by
// accumulation during that pass, so autograd::grad() does not see them: use backward(). Once
// differentiable: a second derivative throws InvariantError.
at::Tensor run_layer(std::size_t index, const LayerFunction& layer, const at::Tensor& x,
                     ForwardContext& context);

}  // namespace blockwise
