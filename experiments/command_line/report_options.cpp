#include "experiments/command_line/report_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>

namespace blockwise {

void add_options(CLI::App& verb, ReportOptions& options) {
  verb.add_option("folder", options.folder, "folder of a sweep or of a run")->required();
  auto* confirm =
      verb.add_option("--confirm", options.seeds,
                      "first run the best configuration of each group again on these seeds, which "
                      "chose nothing; without a number on as many as the sweep has")
          ->expected(0, -1)
          ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  verb.add_option("--jobs", options.jobs, "with --confirm: runs at a time; 0 as for sweeps")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  auto* csv = verb.add_flag("--csv", options.csv, "one line per configuration, for spreadsheets");
  verb.add_flag("--json", options.json, "everything, for programs")->excludes(csv);
  options.tables.add_flag(verb);
  // Without a number the option's only word is an empty one.
  verb.final_callback([confirm, &options] {
    options.confirm = confirm->count() > 0;
    const auto words = confirm->results();
    const bool named = std::ranges::any_of(words, [](const auto& word) { return !word.empty(); });
    if (!named) options.seeds.clear();
    for (const auto seed : options.seeds) {
      if (std::ranges::count(options.seeds, seed) == 1) continue;
      throw CLI::ValidationError("--confirm", fmt::format("the seed {} stands there twice", seed));
    }
  });
}

}  // namespace blockwise
