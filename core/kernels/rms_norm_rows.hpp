// RMSNorm of rows and its derivative (Zhang and Sennrich, arXiv 1910.07467, eq. 4).
#pragma once

#include <cstdint>

namespace blockwise {

// For each row x [width]: r = 1 / sqrt(mean(x^2) + eps),  y = x r gain. T is float32 or the bits of
// bfloat16; gain, r and everything in between are float32, rounded once.
template <typename T>
struct RmsNormRows {
  const T* x;         // [rows, width]
  const float* gain;  // [width]
  T* y;               // [rows, width]
  float* scales;      // [rows]: r
  std::int64_t rows;
  std::int64_t width;
  float eps;
};
void rms_norm_rows(const RmsNormRows<float>& rows);
void rms_norm_rows(const RmsNormRows<std::uint16_t>& rows);

// With h = dy gain:  dx = r (h - x r^2 mean(h x)),  gain_slope += sum over the rows of dy x r.
template <typename T>
struct RmsNormSlopes {
  const T* x;
  const float* gain;
  const float* scales;
  const T* dy;
  T* dx;
  float* gain_slope;  // [width], added to
  std::int64_t rows;
  std::int64_t width;
};
void rms_norm_slopes(const RmsNormSlopes<float>& rows);
void rms_norm_slopes(const RmsNormSlopes<std::uint16_t>& rows);

}  // namespace blockwise
