#include "experiments/training/run_end.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "experiments/config/config_lines.hpp"
#include "experiments/training/continuation.hpp"

namespace blockwise {
namespace {

bool under_another_bound(const RunResult& run, const std::string& wanted) {
  const auto differences = config_differences(run.config_yaml, wanted);
  return std::ranges::any_of(differences, [](const ConfigDifference& difference) {
    return difference.key.starts_with("trainer.divergence_");
  });
}

std::int64_t steps_of(const ConfigLines& config) {
  std::int64_t steps = 0;
  const auto value = config.value("trainer.steps");
  std::from_chars(value.data(), value.data() + value.size(), steps);
  return steps;
}

bool is_tested(const RunResult& run, const ConfigLines& wanted) {
  const auto test = wanted.value("data.test");
  const bool without = test.empty() || test == "\"\"";
  return without || (run.test && run.test->step == run.last_step);
}

}  // namespace

bool has_last_losses(const RunResult& run, const std::vector<std::string>& names) {
  return std::ranges::all_of(names, [&](const std::string& name) {
    const auto set = std::ranges::find(run.validation_names, name);
    if (set == run.validation_names.end()) return false;
    const auto at = static_cast<std::size_t>(set - run.validation_names.begin());
    const auto& losses = run.named_losses;
    return !losses.empty() && !std::isnan(losses.back().at(at));
  });
}

bool is_over(const RunResult& run, const std::string& wanted) {
  if (run.state == RunState::diverged) return !under_another_bound(run, wanted);
  if (run.state != RunState::finished) return false;
  const ConfigLines config(wanted);
  return run.last_step >= steps_of(config) && is_tested(run, config) &&
         has_last_losses(run, config.names("data.validations"));
}

}  // namespace blockwise
