// Arithmetic on sizes that a file or a configuration gives. What leaves its bound is an InputError;
// nothing wraps around and is then used as a size.
#pragma once

#include <fmt/ranges.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string_view>

#include "core/base/error.hpp"

namespace blockwise {

inline constexpr std::int64_t kMostSize = std::numeric_limits<std::int64_t>::max();

// a / b, rounded up, of a >= 0 and b >= 1; never a + b - 1, which overflows for a large b.
constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

// The product of factors that are at least 0. Throws InputError "WHAT: 3 x 5 is above 14" where it
// is above `most`, or a factor is negative.
inline std::int64_t checked_product(std::string_view what, std::span<const std::int64_t> factors,
                                    std::int64_t most = kMostSize) {
  std::int64_t product = 1;
  for (const auto factor : factors) {
    require_input(factor >= 0, "{}: {} is below 0", what, factor);
    const bool fits = !__builtin_mul_overflow(product, factor, &product) && product <= most;
    require_input(fits, "{}: {} is above {}", what, fmt::join(factors, " x "), most);
  }
  return product;
}

inline std::int64_t checked_product(std::string_view what,
                                    std::initializer_list<std::int64_t> factors,
                                    std::int64_t most = kMostSize) {
  return checked_product(what, std::span(factors.begin(), factors.size()), most);
}

// a + b of numbers that are at least 0. Throws InputError "WHAT: 3 + 5 is above 7".
inline std::int64_t checked_sum(std::string_view what, std::int64_t a, std::int64_t b,
                                std::int64_t most = kMostSize) {
  std::int64_t sum = 0;
  const bool fits = a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, &sum) && sum <= most;
  require_input(fits, "{}: {} + {} is outside of 0 to {}", what, a, b, most);
  return sum;
}

}  // namespace blockwise
