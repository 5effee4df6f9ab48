// Suggestions for misspelt names.
#pragma once

#include <string>
#include <vector>

namespace blockwise {

// ", did you mean 'x'?" for the candidate with the smallest Levenshtein distance, or an empty text
// when none is within a third of the word's length (at least 2).
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace blockwise
