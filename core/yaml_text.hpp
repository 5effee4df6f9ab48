// What a YAML text may be, checked on the parser's events, before anything is built from it.
#pragma once

#include <string>

namespace blockwise {

// Throws InputError "name:line:column: ..." for a text nested deeper than 64 levels, with more than
// 100,000 nodes once aliases are expanded, an alias inside its own anchor, or a second document;
// YAML::ParserException for a text that is not YAML. O(length), no tree is kept.
void check_yaml_limits(const std::string& text, const std::string& name);

}  // namespace blockwise
