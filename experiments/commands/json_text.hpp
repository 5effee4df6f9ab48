// JSON of a verb: what it prints last, and texts of the command line on their way to the YAML.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace blockwise {

// In one line. Bytes that are no UTF-8 (of a path, of a damaged file) become U+FFFD.
inline std::string json_text(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace blockwise
