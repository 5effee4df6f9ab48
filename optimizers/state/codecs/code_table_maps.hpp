// What codecs with a table of values share: their maps and stored form.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/kernels/device/number_formats.hpp"
#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/state_spec.hpp"

namespace blockwise {

// 16 values, ascending: 0, 1 and seven with both signs (Li et al., arXiv 2309.01507, its map of
// first moments).
std::vector<float> signed_4bit_map();
// (k + 1) / 16, k = 0 ... 15 (that paper's map of second moments): there is no 0, which a second
// moment would divide by.
std::vector<float> linear_4bit_map();

// A second moment above 0 never becomes 0.
kernels::CodeTable::Zero zero_of(StateUse use);

// The same lookups by the kernels of a device. kind: one of the two tables.
NumberFormat device_format_of(const kernels::CodeTable& table, NumberFormat::Kind kind);

// stored: codes, then scales.
kernels::Codes codes_of(const std::vector<at::Tensor>& stored);

inline std::int64_t pieces_of(std::int64_t size, std::int64_t piece) {
  return (size + piece - 1) / piece;
}

}  // namespace blockwise
