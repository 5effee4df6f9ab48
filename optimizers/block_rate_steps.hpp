// Steps with a learning rate per block: every rule here is linear in the rate,
//   w' - w = -lr (d + weight_decay w),
// so a block that is to have the rate value * lr takes value * (w' - w). One more pass over the
// tensor; for any rule and any structure. Rounding: w' - w is off by up to one unit in the last
// place of w, so a value far above 1 magnifies it: better a learning_rate near the largest rate.
#pragma once

#include "core/block_rates.hpp"
#include "optimizers/kernels/adam.hpp"

namespace blockwise {

// before + rate_b (w - before) in place of w, block by block; both float32 of the tensor's size on
// the CPU. Returns the sum of (w - before)^2 that is left.
double scale_step_cpu(const at::Tensor& before, const at::Tensor& w,
                      const TensorPartition& partition, const std::vector<SectionRates>& rates,
                      kernels::Workspace& space);

// The same on any device; takes one value per element of a section for a while. The result is a
// 0-d tensor.
at::Tensor scale_step_tensors(const at::Tensor& before, const at::Tensor& w,
                              const TensorPartition& partition,
                              const std::vector<SectionRates>& rates);

// One value per block as one per element, [rows, columns] or what broadcasts to it.
at::Tensor spread_over_blocks(const at::Tensor& values, const PartitionSection& section);

}  // namespace blockwise
