#include "experiments/commands/next_step.hpp"

#include <fmt/format.h>

#include "experiments/config_yaml.hpp"

namespace blockwise {

std::string next_step(const std::string& config, const std::vector<std::string>& settings) {
  if (!YamlDocument::load(config).has_sweep()) {
    return fmt::format("blockwise train {} --set {}", config, fmt::join(settings, " --set "));
  }
  std::string set;
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    set += fmt::format("{}{}: {}", set.empty() ? "" : ", ", setting.substr(0, equals),
                       setting.substr(equals + 1));
  }
  return fmt::format("blockwise sweep {}, with a group that says set: {{{}}} where it has none yet",
                     config, set);
}

}  // namespace blockwise
