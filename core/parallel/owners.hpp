// Owners: which rank has which elements of a layout's flat buffer. It is made of units, consecutive
// ranges of it, and each is cut into one share for every rank. What a rank has is its shares of all
// units, one after the other.
#pragma once

#include <cstdint>
#include <vector>

#include "core/parallel/ranks.hpp"
#include "core/parameters/weight_units.hpp"

namespace blockwise {

class Owners {
 public:
  Owners() = default;  // nobody has a share: everybody has all
  // The bounds of each unit's shares, elements of the flat buffer: a unit begins where the one
  // before ends.
  explicit Owners(std::vector<Shares> units) : units_(std::move(units)) {}

  bool empty() const { return units_.empty(); }
  const std::vector<Shares>& units() const { return units_; }
  // A rank's share of each unit; may be empty.
  std::vector<ElementRange> own(std::int64_t rank) const;
  // Number of its elements before `element` of the flat buffer.
  std::int64_t place(std::int64_t rank, std::int64_t element) const;
  // Bounds of the shares of elements [begin, end), which are in one unit, counted from begin.
  Shares within(std::int64_t begin, std::int64_t end) const;

 private:
  std::vector<Shares> units_;
};

// The weight units of a layout, each in even shares.
Owners even_owners(const ParameterLayout& layout, std::int64_t layers, std::int64_t ranks);

}  // namespace blockwise
