// The activations between a layer's matrices and their derivatives, in one pass over memory.
#pragma once

#include <cstdint>

namespace blockwise {

// f(x) = x s(u(x)) with the logistic function s:
//   silu        u = x
//   gelu_tanh   u = 2 c (x + a x^3), c = sqrt(2 / pi), a = 0.044715, which is
//               x (1 + tanh(c (x + a x^3))) / 2 (Hendrycks and Gimpel, arXiv 1606.08415)
// and f' = s + x s (1 - s) u'.
enum class Curve { silu, gelu_tanh };

// All arrays have n elements of one type, float32 or the bits of bfloat16, and may be the same;
// between load and store everything is float32. A NaN gives a NaN. Right to 4 ULP of float32 before
// the rounding to the type, for results above 1e-30.

// y = f(x)
void activate(Curve curve, const float* x, std::int64_t n, float* y);
void activate(Curve curve, const std::uint16_t* x, std::int64_t n, std::uint16_t* y);
// dx = f'(x) dy
void activation_slope(Curve curve, const float* x, const float* dy, std::int64_t n, float* dx);
void activation_slope(Curve curve, const std::uint16_t* x, const std::uint16_t* dy, std::int64_t n,
                      std::uint16_t* dx);

// y = f(x) z, the gated units of Shazeer (arXiv 2002.05202)
void gate(Curve curve, const float* x, const float* z, std::int64_t n, float* y);
void gate(Curve curve, const std::uint16_t* x, const std::uint16_t* z, std::int64_t n,
          std::uint16_t* y);
// dx = f'(x) z dy, dz = f(x) dy
template <typename T>
struct GateSlopes {
  const T* x;
  const T* z;
  const T* dy;
  T* dx;
  T* dz;
};
void gate_slopes(Curve curve, const GateSlopes<float>& arrays, std::int64_t n);
void gate_slopes(Curve curve, const GateSlopes<std::uint16_t>& arrays, std::int64_t n);

}  // namespace blockwise
