// Float32 masters split into a bfloat16 weight and what is beside it, and joined again: the formats
// lossless_16bit and residual_8bit of core/parameters/master_weights.hpp, whose formulas these are.
// One thread; n values, contiguous. Every instruction set gives the same bits.
#pragma once

#include <cstdint>

namespace blockwise {

void join_halves(const std::uint16_t* weight, const std::int16_t* residual, std::int64_t n,
                 float* x);
void join_halves(const std::uint16_t* weight, const std::int8_t* residual, std::int64_t n,
                 float* x);
void split_halves(const float* x, std::int64_t n, std::uint16_t* weight, std::int16_t* residual);
void split_halves(const float* x, std::int64_t n, std::uint16_t* weight, std::int8_t* residual);

}  // namespace blockwise
