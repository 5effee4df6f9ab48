// Activations in one pass over memory; see core/kernels/activations.hpp for formulas and errors.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/kernels/activations.hpp"

namespace blockwise {

// f(x), and f(x) z for x, z of one shape and type; float32 or bfloat16 on the CPU or the meta
// device (has_cpu_kernel()). The inputs are held for the backward pass. Independent of the number
// of threads. Once differentiable: a second derivative throws InvariantError.
at::Tensor fused_activation(Curve curve, const at::Tensor& x);
at::Tensor fused_gate(Curve curve, const at::Tensor& x, const at::Tensor& z);

}  // namespace blockwise
