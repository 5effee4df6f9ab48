// Numbers that a recording script and a test compute alike, so that golden files need not hold
// their inputs: integer hashing, then exact binary fractions.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace blockwise::testing {

// In [-1, 1); the same as `formula` in tests/golden/formula.py.
inline double formula_value(std::uint32_t stream, std::uint32_t index) {
  std::uint32_t h = index * 2654435761u + stream * 2246822519u + 374761393u;
  h = (h ^ (h >> 15)) * 2246822519u;
  h = (h ^ (h >> 13)) * 3266489917u;
  h ^= h >> 16;
  return static_cast<double>(h) / 2147483648.0 - 1.0;
}

using Floats = std::vector<float>;

// Of size `scale` around `shift`.
inline Floats formula_floats(std::uint32_t stream, std::int64_t n, double scale,
                             double shift = 0.0) {
  Floats values;
  for (std::int64_t i = 0; i < n; ++i) {
    values.push_back(float(scale * formula_value(stream, std::uint32_t(i)) + shift));
  }
  return values;
}

// [n] in double.
inline at::Tensor formula_values(std::uint32_t stream, std::int64_t n) {
  auto values = at::empty({n}, at::kDouble);
  auto* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) data[i] = formula_value(stream, std::uint32_t(i));
  return values;
}

}  // namespace blockwise::testing
