// Candidates of every section of a model, what speaks for each, and the choice.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/partition/partition_file.hpp"
#include "core/text/display_width.hpp"
#include "experiments/config/discovery_config.hpp"

namespace blockwise {

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

struct CandidateScore {
  std::string name;
  PartitionSection section;  // with the candidate's structure
  // Share of the section's Hessian energy inside the blocks, above random blocks of equal sizes;
  // NaN where it was not measured or the structure has no blocks.
  double lift = kNotMeasured, lift_error = kNotMeasured;
  // Behind the lift: the share, that of random blocks, and how far each vector's share is off; all
  // candidates have the same vectors. Empty: the share is exact.
  double share = 0.0, chance = 0.0;
  std::vector<double> deviations;
  // Share of the variance of log v that is left inside the blocks, and its root in nats; see
  // moment_evidence.hpp. The share also of log |diagonal of the Hessian|.
  double inside = 1.0, inside_error = 0.0, spread = 0.0;
  double diagonal_inside = kNotMeasured, diagonal_inside_error = kNotMeasured;
  double signal_to_noise = 0.0;
  // Of a sample of the blocks, damped, geometric mean; see best_rate.hpp.
  double condition = kNotMeasured;
  // What the objective makes of it, lower is better, and its standard error.
  double loss = 1.0, loss_error = 0.0;
};

struct SectionScores {
  std::size_t tensor = 0;  // of the layout
  bool is_matrix = true;   // vectors are kept per element and not searched
  // Its own energy stands out from what other sections bring into products; lifts are NaN if not.
  bool resolved = true;
  std::vector<CandidateScore> candidates;
  std::size_t chosen = 0;
  std::int64_t merged = -1;  // sections with one number share one value; see partition.hpp
};

// Fills loss: energy 1 - lift (1 where the lift is not above 0 with 99 % confidence), homogeneity
// the variance left, signal_to_noise 1 / (1 + ratio), the share of v^2 that is noise, from a ratio
// of 1 on and 1 below; plus state_cost times values per element. By energy and homogeneity `whole`
// has 1: it holds everything and says nothing.
void score(const DiscoveryConfig& config, std::vector<SectionScores>& sections);

// In every section the candidate with the fewest values within one standard error of the best; by
// energy a candidate whose blocks are unions of a better founded candidate's competes only where
// the unions hold more of what the smaller blocks leave out than random unions do, with 99 %
// confidence. By signal_to_noise SlimAdam's rule (Kalra et al., arXiv 2503.01843): a value per row
// or per column, whichever ratio is better, where that is at least 1, one per element otherwise;
// other structures compete where discovery.candidates names them. Then the cheapest losses are
// given up until max_state holds. Throws InputError where even whole sections are too many values.
void choose(const DiscoveryConfig& config, std::int64_t parameters,
            std::vector<SectionScores>& sections);

// The candidate that the rule adam_mini takes: heads for query and key, rows elsewhere; none where
// the section has neither.
std::optional<std::size_t> adam_mini_candidate(const SectionScores& section);

Partition chosen_partition(const ParameterLayout& layout, const std::string& name,
                           const std::vector<SectionScores>& sections);

// Sections by candidate: the chosen one, its evidence, and what rules score beside it, where there
// is room for that. No line is wider than `width`.
std::string discovery_report(const ParameterLayout& layout,
                             const std::vector<SectionScores>& sections,
                             std::size_t width = kUnlimitedWidth);

// All that was measured, a line per section of a matrix and candidate; empty: not measured.
std::string scores_csv(const ParameterLayout& layout, const std::vector<SectionScores>& sections);

}  // namespace blockwise
