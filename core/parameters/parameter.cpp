#include "core/parameters/parameter.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/base/error.hpp"

namespace blockwise {

const std::vector<std::string>& role_names() {
  static const std::vector<std::string> names = {"token_embedding",
                                                 "position_embedding",
                                                 "query",
                                                 "key",
                                                 "value",
                                                 "attention_output",
                                                 "mlp_in",
                                                 "mlp_gate",
                                                 "mlp_out",
                                                 "norm",
                                                 "bias",
                                                 "lm_head",
                                                 "router",
                                                 "lora_a",
                                                 "lora_b",
                                                 "other"};
  return names;
}

std::string_view role_name(ParameterRole role) {
  return role_names().at(static_cast<std::size_t>(role));
}

ParameterRole role_from_name(std::string_view name) {
  const auto& names = role_names();
  const auto found = std::find(names.begin(), names.end(), name);
  require_input(found != names.end(), "unknown parameter role '{}'", name);
  return static_cast<ParameterRole>(found - names.begin());
}

std::int64_t Parameter::size() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t Parameter::rows() const { return shape.empty() ? 1 : shape.front(); }

std::int64_t Parameter::columns() const { return rows() == 0 ? 0 : size() / rows(); }

}  // namespace blockwise
