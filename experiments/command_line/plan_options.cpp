#include "experiments/command_line/plan_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, PlanOptions& options) {
  verb.add_option("config", options.config, "YAML file of a run, or of a sweep (its base)")
      ->required();
  add_set_option(verb, options.assignments);
  verb.add_option(
      "--device-memory", options.device_memory,
      "of one device, like 80GB or 80GiB: says whether the run fits, and ends with 1 where "
      "it does not");
  verb.add_option("--ranks", options.ranks,
                  "processes that make the run together: what each sends and holds")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  verb.add_option("--bandwidth", options.gigabytes_per_second,
                  "GB that a process sends in a second")
      ->check(CLI::Range(1e-6, 1e6));
  verb.add_option("--tflops", options.teraflops,
                  "10^12 operations that a process computes in a second")
      ->check(CLI::Range(1e-6, 1e6));
  verb.add_flag("--json", options.json, "machine-readable");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
