// The seeds on which a partition or rates were found. Fitted to the parameters and the batches of a
// seed, they look better on it than they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "optimizers/optimizer_config.hpp"

namespace blockwise {

// The key of these files' provenance, and its text: "1, 2, 3".
inline constexpr const char* kFoundOnKey = "seeds";
std::string seeds_text(const std::vector<std::int64_t>& seeds);
// Words that are no whole number are skipped: the text comes from a file.
std::vector<std::int64_t> seeds_from_text(const std::string& text);

// first, first + 1, .. first + count - 1.
std::vector<std::int64_t> seed_range(std::int64_t first, std::int64_t count);

// Of the files that the optimizer names, each seed once, ascending. Files of earlier versions do
// not say theirs. Throws InputError for a file that cannot be read.
std::vector<std::int64_t> found_on_seeds(const OptimizerConfig& optimizer);

}  // namespace blockwise
