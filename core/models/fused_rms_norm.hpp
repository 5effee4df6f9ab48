// RMSNorm in one pass over memory; see core/kernels/rms_norm_rows.hpp for formulas.
#pragma once

#include <ATen/core/Tensor.h>

namespace blockwise {

// x [.., width] in float32 or bfloat16 on the CPU or the meta device (has_cpu_kernel()), gain
// [width] -> like x. x and 1 / rms of every row are held for the backward pass. The gain's gradient
// is summed over 64 ranges of rows, then over these, whatever the number of threads. Once
// differentiable: a second derivative throws InvariantError.
at::Tensor fused_rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps);

}  // namespace blockwise
