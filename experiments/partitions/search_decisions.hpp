// What a search by loss looked at and decided, for programs and for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/text/display_width.hpp"

namespace blockwise {

// One look at one change of the partition.
struct SearchDecision {
  std::string stage;  // propose, refine or coarsen
  std::string role;   // empty: all
  std::string candidate;
  std::int64_t values = 0;  // of the partition with the change
  std::int64_t seeds = 0;
  double loss = 0.0;                          // mean
  double difference = 0.0;                    // to the partition before; nats, negative is better
  std::optional<double> half_width, p_value;  // of the difference
  bool taken = false;
};

std::string decisions_csv(const std::vector<SearchDecision>& decisions);
std::string decisions_report(const std::vector<SearchDecision>& decisions,
                             std::size_t width = kUnlimitedWidth);

}  // namespace blockwise
