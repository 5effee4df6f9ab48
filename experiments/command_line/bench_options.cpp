#include "experiments/command_line/bench_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {
namespace {

std::vector<std::string> group_names() {
  std::vector<std::string> names;
  for (const auto& group : kBenchGroups) names.emplace_back(group.name);
  return names;
}

}  // namespace

void add_options(CLI::App& verb, BenchOptions& options) {
  verb.add_option("groups", options.groups,
                  fmt::format("what to time: {}; all without", fmt::join(group_names(), ", ")))
      ->check(CLI::IsMember(group_names()));
  verb.add_option("--cases", options.cases, "of the one group that is named; all without");
  verb.add_option("--profile", options.profile,
                  "instead: where a step of this YAML's run spends its time");
  verb.add_option("--steps", options.steps, "of the profile, after two more")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  add_set_option(verb, options.assignments);
  verb.add_option("--parameters", options.sizes.parameters, "of the optimizers and codecs, about")
      ->check(CLI::Range(std::int64_t{10000}, std::int64_t{4000000000}))
      ->capture_default_str();
  verb.add_option("--tensors", options.sizes.tensors,
                  "of the cases in which a rule goes over many tensors instead of one")
      ->check(CLI::Range(2, 30000))
      ->capture_default_str();
  verb.add_option("--models", options.sizes.models, "of the training cases, from the smallest on")
      ->check(CLI::Range(1, 3))
      ->capture_default_str();
  verb.add_option("--repetitions", options.length.repetitions, "of every case; medians are shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb.add_option("--seconds", options.length.seconds, "of a repetition, at least")
      ->check(CLI::Range(1e-4, 1e3))
      ->capture_default_str();
  verb.add_option("--threads", options.threads, "CPU threads; 0: OMP_NUM_THREADS or all cores")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{4096}))
      ->capture_default_str();
  verb.add_option("--device", options.device, "of the groups; a profile has its configuration's")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  verb.add_flag("--json", options.json, "machine-readable");
  options.tables.add_flag(verb);
}

}  // namespace blockwise
