#include "experiments/commands/next_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "experiments/config/config_yaml.hpp"
#include "experiments/config/run_source.hpp"
#include "experiments/terminal/shell_word.hpp"

namespace blockwise {

namespace {

std::string_view key_of(std::string_view setting) { return setting.substr(0, setting.find('=')); }

// Whether a setting of the search says something of the training that comes after it.
bool is_of_training(const std::string& setting) {
  const auto key = key_of(setting);
  const auto is_in = [key](std::string_view section) { return key.starts_with(section); };
  return key != "output" && !is_in("hessian.") && !is_in("discovery.") && !is_in("search_lr.");
}

// Those of the search that what it found leaves as they were, then what it found.
std::vector<std::string> all_settings(const SearchSubject& subject,
                                      const std::vector<std::string>& found) {
  std::vector<std::string> all;
  for (const auto& setting : subject.assignments) {
    const bool is_found = std::ranges::any_of(
        found, [&](const auto& other) { return key_of(other) == key_of(setting); });
    if (is_of_training(setting) && !is_found) all.push_back(setting);
  }
  all.insert(all.end(), found.begin(), found.end());
  return all;
}

std::string training(const std::string& config, const std::string& output,
                     const std::vector<std::string>& settings) {
  auto command = fmt::format("blockwise train {} --output {}", shell_word(config),
                             shell_word(output + "-found"));
  for (const auto& setting : settings) command += " --set " + shell_word(setting);
  return command;
}

std::string group_of_sweep(const std::string& config, const std::vector<std::string>& settings) {
  std::string set;
  for (const auto& setting : settings) {
    const auto key = key_of(setting);
    set += fmt::format("{}{}: {}", set.empty() ? "" : ", ", key, setting.substr(key.size() + 1));
  }
  return fmt::format("blockwise sweep {}, with a group that says set: {{{}}} where it has none yet",
                     shell_word(config), set);
}

}  // namespace

std::string next_step(const SearchSubject& subject, const std::vector<std::string>& found) {
  const auto settings = all_settings(subject, found);
  if (subject.config.empty()) {
    const auto run = run_folder_of(subject.model).value().string();
    return training(run + "/config.yaml", run, settings);
  }
  auto document = YamlDocument::load(subject.config);
  if (document.has_sweep()) return group_of_sweep(subject.config, settings);
  for (const auto& assignment : subject.assignments) document.set(assignment);
  return training(subject.config, document.run_config().output, settings);
}

}  // namespace blockwise
