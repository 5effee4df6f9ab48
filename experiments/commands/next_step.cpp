#include "experiments/commands/next_step.hpp"

#include <fmt/format.h>

#include "experiments/config/config_yaml.hpp"
#include "experiments/config/run_source.hpp"

namespace blockwise {

namespace {

std::string training(const std::string& config, const std::vector<std::string>& settings) {
  return fmt::format("blockwise train {} --set {}", config, fmt::join(settings, " --set "));
}

std::string group_of_sweep(const std::string& config, const std::vector<std::string>& settings) {
  std::string set;
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    set += fmt::format("{}{}: {}", set.empty() ? "" : ", ", setting.substr(0, equals),
                       setting.substr(equals + 1));
  }
  return fmt::format("blockwise sweep {}, with a group that says set: {{{}}} where it has none yet",
                     config, set);
}

}  // namespace

std::string next_step(const SearchSubject& subject, const std::vector<std::string>& settings) {
  if (subject.config.empty()) {
    const auto run = run_folder_of(subject.model).value().string();
    return training(fmt::format("{0}/config.yaml --output {0}-found", run), settings);
  }
  return YamlDocument::load(subject.config).has_sweep() ? group_of_sweep(subject.config, settings)
                                                        : training(subject.config, settings);
}

}  // namespace blockwise
