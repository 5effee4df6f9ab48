// Codes of values by LibTorch's operations, on any device and with the kernels' bits
// (kernels/state_codes.hpp), for forms that a device has no kernels of. Cost: some passes over the
// values, and memory for as many numbers of 8 bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "optimizers/kernels/code_table.hpp"

namespace blockwise {

// codebook_8bit of values [n]; stored: codes, scales, the 256 values of the codebook.
void encode_codebook(const at::Tensor& values, std::int64_t block,
                     const std::vector<at::Tensor>& stored);
void decode_codebook(const std::vector<at::Tensor>& stored, std::int64_t block,
                     const at::Tensor& values);

// rank1_4bit of a matrix; stored: codes, scales of rows, of columns.
void encode_rank1(const kernels::CodeTable& table, const at::Tensor& matrix,
                  const std::vector<at::Tensor>& stored);
void decode_rank1(const kernels::CodeTable& table, const std::vector<at::Tensor>& stored,
                  const at::Tensor& matrix);

}  // namespace blockwise
