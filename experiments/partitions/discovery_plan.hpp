// What `blockwise partition` will measure, and what that takes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "experiments/config/run_config.hpp"
#include "experiments/partitions/partition_scores.hpp"
#include "hessian/product_memory.hpp"

namespace blockwise {

struct ResolvedDiscovery {
  RunConfig config;
  std::string hash;
  std::shared_ptr<const Dataset> data;
  ParameterLayout layout;
  std::int64_t products = 0;  // with the Hessian, of all phases
  std::int64_t units = 0;     // of progress: products, exact matrices, blocks, gradients
  double gradients = 0.0;     // their cost, and that of the moments
  ProductMemory memory;
};

// Throws InputError where a candidate or the batches do not fit, or memory does not suffice.
ResolvedDiscovery resolve_discovery(RunConfig config);

// Every section of every tensor with its candidates, nothing measured.
std::vector<SectionScores> all_sections(const DiscoveryConfig& config,
                                        const ParameterLayout& layout);
// Names of candidates with blocks, that any section has.
std::vector<std::string> level_names(const std::vector<SectionScores>& sections);
bool has_blocks(const PartitionSection& section);
// The matrices of the layout.
std::vector<std::size_t> searched_tensors(const ParameterLayout& layout);

// Products that the condition number of one block takes, at most.
inline constexpr std::int64_t kConditionProducts = 30;
// Sign codes for the blocks' product with the gradient, which no average over vectors helps.
inline constexpr std::int64_t kGradientCodes = 32;
// Vectors and sign codes of the map of couplings between sections.
inline constexpr std::int64_t kCouplingVectors = 2, kCouplingCodes = 48;

}  // namespace blockwise
