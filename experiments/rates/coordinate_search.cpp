#include "experiments/rates/coordinate_search.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace blockwise {
namespace {

struct SizedGroup {
  RateGroup group;
  std::int64_t elements = 0;
};

SizedGroup& group_named(std::vector<SizedGroup>& groups, const std::string& name) {
  const auto named = [&](const SizedGroup& sized) { return sized.group.name == name; };
  const auto found = std::ranges::find_if(groups, named);
  if (found != groups.end()) return *found;
  groups.push_back({{name, {}}, 0});
  return groups.back();
}

BlockRates with_factor(BlockRates rates, const RateGroup& group, double factor) {
  for (const auto& [tensor, section] : group.sections) {
    rates.tensors[tensor][section].rate = {factor};
  }
  return rates;
}

bool gains(const PairedTest& test) {
  return test.difference.half_width && test.difference.mean + *test.difference.half_width < 0.0;
}

GridOutcome search_group(const CoordinateSearch& search, const BlockRates& rates,
                         const GroupRate& rate, PairedTrials& trials) {
  std::vector<double> grid;
  for (const double factor : search.factors) grid.push_back(rate.factor * factor);
  return search_grid(trials, search.arm(rates), grid, [&](double factor) {
    return search.arm(with_factor(rates, rate.group, factor));
  });
}

}  // namespace

std::vector<RateGroup> rate_groups(const ParameterLayout& layout, const Partition& partition,
                                   const std::string& by) {
  std::vector<SizedGroup> groups;
  for (std::size_t t = 0; t < layout.parameters().size(); ++t) {
    const auto& parameter = layout.parameters()[t];
    const auto& sections = partition.tensors()[t].sections;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      std::string name(role_name(sections[s].role));
      if (by == "role_and_layer" && parameter.layer >= 0) {
        name += fmt::format(".{}", parameter.layer);
      }
      auto& sized = group_named(groups, name);
      sized.group.sections.emplace_back(t, s);
      sized.elements += sections[s].size();
    }
  }
  std::ranges::stable_sort(groups, std::greater<>(), &SizedGroup::elements);
  std::vector<RateGroup> sorted;
  for (auto& sized : groups) sorted.push_back(std::move(sized.group));
  return sorted;
}

CoordinateOutcome coordinate_search(const CoordinateSearch& search, PairedTrials& trials) {
  CoordinateOutcome outcome;
  for (const auto& group : search.groups) {
    outcome.groups.push_back({group, 1.0, {1.0, 1.0, 1.0}, {}, false});
  }
  auto rates = BlockRates::ones(search.partition);
  bool gained = true;
  for (std::int64_t pass = 0; pass < search.passes && gained; ++pass) {
    gained = false;
    for (auto& rate : outcome.groups) {
      const auto found = search_group(search, rates, rate, trials);
      outcome.result = found.result;
      if (found.result != PairedTrials::Result::measured) return outcome;
      rate.best = found.value;
      rate.test = found.to_baseline;
      if (!gains(found.to_baseline)) continue;
      rate.factor = found.best;
      rate.taken = gained = true;
      rates = with_factor(std::move(rates), rate.group, rate.factor);
    }
  }
  return outcome;
}

BlockRates rates_of(const Partition& partition, const std::vector<GroupRate>& groups) {
  auto rates = BlockRates::ones(partition);
  for (const auto& rate : groups) {
    for (const auto& [tensor, section] : rate.group.sections) {
      rates.tensors[tensor][section] = {{rate.factor}, {rate.best.low}, {rate.best.high}};
    }
  }
  return rates;
}

}  // namespace blockwise
