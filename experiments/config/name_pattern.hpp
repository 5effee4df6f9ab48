// Shell patterns on names: * any text, ? any character, [abc] [a-c] [!a] one of some or none of
// them, \ takes the next character as it is. Everything else stands for itself; the whole name must
// match.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blockwise {

// In time proportional to the product of the lengths, whatever the pattern.
bool matches_pattern(std::string_view pattern, std::string_view name);

// The names that need the fewest changed, added or left out letters to match, at most `most` of
// them; none that needs more than a third of the pattern's letters.
std::vector<std::string> nearest_names(std::string_view pattern,
                                       const std::vector<std::string>& names, std::size_t most);

}  // namespace blockwise
