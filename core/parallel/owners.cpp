#include "core/parallel/owners.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace blockwise {

std::vector<ElementRange> Owners::own(std::int64_t rank) const {
  std::vector<ElementRange> ranges;
  for (const auto& unit : units_) {
    ranges.push_back({unit[std::size_t(rank)], unit[std::size_t(rank) + 1]});
  }
  return ranges;
}

std::int64_t Owners::place(std::int64_t rank, std::int64_t element) const {
  std::int64_t before = 0;
  for (const auto& range : own(rank)) {
    before += std::clamp<std::int64_t>(element - range.begin, 0, range.size());
  }
  return before;
}

Shares Owners::within(std::int64_t begin, std::int64_t end) const {
  const auto unit =
      std::ranges::find_if(units_, [&](const auto& bounds) { return begin < bounds.back(); });
  check_equal(unit != units_.end() && unit->front() <= begin && end <= unit->back(), true,
              "elements that are in one unit");
  Shares shares;
  for (const auto bound : *unit) {
    shares.push_back(std::clamp<std::int64_t>(bound - begin, 0, end - begin));
  }
  return shares;
}

Owners even_owners(const ParameterLayout& layout, std::int64_t layers, std::int64_t ranks) {
  std::vector<Shares> units;
  for (const auto& unit : weight_units(layout, layers)) {
    auto& shares = units.emplace_back(even_shares(unit.elements.size(), ranks));
    for (auto& bound : shares) bound += unit.elements.begin;
  }
  return Owners(std::move(units));
}

}  // namespace blockwise
