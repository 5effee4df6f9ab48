// Rotary position embedding of rows.
#pragma once

#include <cstdint>

namespace blockwise {

// Rows of length 2 half, `step` elements from one to the next, and for each its cosines c and sines
// s, [rows, 2 half] (the angle of i < half stands at i and at i + half).
template <typename T>
struct RotaryRows {
  const T* x;
  std::int64_t x_step;
  T* y;  // not x
  std::int64_t y_step;
  const float* cosines;
  const float* sines;
  std::int64_t rows;
  std::int64_t half;
};

//   y_i = x_i c_i - x_{i + half} s_i,   y_{i + half} = x_{i + half} c_{i + half} + x_i s_{i + half}
// float32 or the bits of bfloat16; float32 in between, rounded once. Negated sines turn back, which
// is the transpose.
void rotate_rows(const RotaryRows<float>& rows);
void rotate_rows(const RotaryRows<std::uint16_t>& rows);
}  // namespace blockwise
