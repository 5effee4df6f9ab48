// How the float32 masters of bfloat16 weights are kept between steps. A step sees float32: a master
// is joined of the weight and what is kept beside it, updated, and split again.
//
// Bytes beside the weight, and what a master is:
//   fp32            4  itself
//   lossless_16bit  2  all its bits
//   residual_8bit   1  16 bits of its mantissa: 2^-15 relative at most
//   kahan           2  weight + compensation, both bf16
//   stochastic      0  the weight, rounded at random so that its mean stays
//   none            0  the weight, rounded to the nearest
//
// With the bits of a float32 as a number:
//   lossless_16bit  weight = (bits + 0x8000) >> 16,  residual = bits - (weight << 16) as int16
//   residual_8bit   the same weight,  residual = round(that / 256) as int8, at most 127
//   kahan           weight = bf16(x),  compensation = bf16(x - weight)
// The first two round ties away from zero: with ties to even the residual of a tie has two
// meanings. FlashOptim (arXiv 2602.23349) takes even ones and counts half steps of the weight
// instead, which loses 0.3 % of masters at 16 bits. Splitting a joined master again gives what it
// was joined of, so that a run that is resumed from float32 masters goes on to the same bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/kernels/device/number_formats.hpp"

namespace blockwise {

enum class MasterWeights { fp32, lossless_16bit, residual_8bit, kahan, stochastic, none };

const std::vector<std::string>& master_weights_names();  // in the order of the enum
MasterWeights master_weights_from_name(const std::string& name);

// Of what is kept beside the weight; nothing for stochastic and none, and for fp32, which is no
// split at all.
std::optional<at::ScalarType> residual_type(MasterWeights format);

// What kernels on a device call it; of fp32 that of none.
NumberFormat::Kind device_format(MasterWeights format);

// A weight with what is beside it: bfloat16 and residual_type() of one size, on the master's
// device.
struct SplitMaster {
  at::Tensor weight, residual;
};

// master: float32, contiguous, of that size. Cost: one pass over all three. Infinite masters and
// not-a-numbers stay what they are in the weight. format: not fp32.
void join_master(MasterWeights format, const SplitMaster& split, const at::Tensor& master);
// On a CUDA device by a kernel, with the bits of the CPU. seed: of stochastic rounding, another one
// at every step.
void split_master(MasterWeights format, const at::Tensor& master, const SplitMaster& split,
                  std::uint64_t seed);

}  // namespace blockwise
