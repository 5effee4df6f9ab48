// A field's value against its bounds, for visitors that take values from elsewhere than the YAML.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/fields.hpp"

namespace blockwise {

// Throws InputError "NAME is VALUE, allowed are MIN to MAX".
inline void require_within(std::string_view name, double value, const RealBounds& b) {
  const bool above = b.min_open ? value > b.min : value >= b.min;
  const bool below = b.max_open ? value < b.max : value <= b.max;
  require_input(above && below, "{} is {}, allowed are {} to {}{}", name, value, b.min, b.max,
                b.min_open || b.max_open ? ", not the ends" : "");
}

inline void require_within(std::string_view name, std::int64_t value, const IntegerBounds& b) {
  require_input(value >= b.min && value <= b.max, "{} is {}, allowed are {} to {}", name, value,
                b.min, b.max);
}

// "NAME is 'VALUE', allowed are A, B, C".
inline void require_one_of(std::string_view name, const std::string& value,
                           const std::vector<std::string>& choices) {
  require_input(std::ranges::count(choices, value) > 0, "{} is '{}', allowed are {}", name, value,
                fmt::join(choices, ", "));
}

}  // namespace blockwise
