#include "experiments/command_line/plan_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, PlanOptions& options) {
  verb.add_option("config", options.config, "YAML file of a run, or of a sweep (its base)")
      ->required();
  add_set_option(verb, options.assignments);
  verb.add_option("--device-memory", options.device_gib, "GiB of one device")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str();
  verb.add_flag("--json", options.json, "machine-readable");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
