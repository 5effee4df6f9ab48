// Report: what the run files of a sweep say, one row per configuration over its seeds.
//
// Losses are validation losses in nats per token. A run's final loss is its last evaluation; only
// finished runs count, and a finished run whose final loss is not finite counts as diverged.
// Configurations are ranked by mean final loss; one with a diverged seed comes after all without,
// one without any final loss last. Differences are paired by seed with the baseline: the best
// configuration of the sweep's baseline group. P-values are per comparison; beside each stands the
// one that Holm's correction makes of it over all configurations that are compared.
//
// The best of many configurations is low by chance: its loss, and every test with it, is selected.
// How many a group tried stands beside it, and groups that tried different numbers are warned of.
// What is not selected are the confirmations: the best configuration of each group again, on seeds
// that chose nothing. Their table, with tests and a correction of its own, comes first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/sample_summary.hpp"
#include "core/text/display_width.hpp"
#include "experiments/sweeps/time_to_loss.hpp"

namespace blockwise {

struct SeedCounts {
  std::int64_t finished = 0;
  std::int64_t diverged = 0;
  std::int64_t failed = 0;      // and files that cannot be read
  std::int64_t unfinished = 0;  // running or interrupted
  std::int64_t missing = 0;     // not started

  std::int64_t total() const { return finished + diverged + failed + unfinished + missing; }
};

struct ReportRow {
  std::string group;
  std::vector<std::pair<std::string, std::string>> settings;  // overrides without the seed
  SeedCounts seeds;
  std::map<std::int64_t, double> final_losses;  // by seed
  std::optional<Summary> final_loss;
  std::optional<double> best_loss;  // mean over seeds of the lowest loss of each run
  bool is_baseline = false;
  std::optional<PairedTest> against_baseline;  // this minus baseline, over the seeds that both have
  std::optional<double> holm_p_value;          // of all rows that have a p-value
  // On the test set, which no choice saw, where the runs have one.
  std::map<std::int64_t, double> test_losses;
  std::optional<Summary> test_loss;
  std::optional<PairedTest> test_against_baseline;
  std::optional<double> test_holm_p_value;
  std::map<std::int64_t, LossCourse> courses;  // of finished and diverged runs, by seed
  std::optional<TimeToLoss> time_to_baseline;
  std::set<std::int64_t> found_on;  // seeds on which the partition or the rates were found
  // Of all runs that have steps, finished or not.
  std::optional<std::int64_t> optimizer_bytes;
  std::optional<std::int64_t> peak_allocated;  // bytes, highest over seeds
  std::optional<double> step_seconds;          // mean over seeds of the run's median
  std::optional<double> tokens_per_second;     // mean over seeds of the run's median
};

// Where a group's best value of a swept number lies among those it tried. At an end, or with only
// one, the group may have a better one outside.
enum class GridPosition { inside, lowest, highest, only };
const char* grid_position_name(GridPosition position);

// A number that the sweep varies, as one group tried it.
struct SweptKey {
  std::string path;            // optimizer.learning_rate
  std::vector<double> tried;   // ascending
  std::optional<double> best;  // of the group's best configuration; nothing where none finished
  GridPosition position = GridPosition::inside;
};

struct ReportGroup {
  std::string name;
  std::size_t best = 0;             // its best row
  std::int64_t configurations = 0;  // that it tried, with those that were left out since
  std::vector<SweptKey> swept;      // those of several values, and the learning rate if it is set
};

struct Report {
  std::string name;
  std::string baseline;              // group; empty for a single run
  std::vector<ReportRow> confirmed;  // the best of each group on other seeds, best first
  std::vector<ReportRow> rows;       // best first
  std::vector<ReportGroup> groups;   // best first
  std::vector<std::string> warnings;
};

// Reads the folder of a sweep (manifest.json) or of a run (run.h5). Run files that are missing or
// damaged, or that ran another configuration than the manifest's hash of the member says, are
// counted and named in a warning, not thrown; of the last nothing enters a row. Throws InputError
// for a folder that is neither and for a damaged manifest.
Report make_report(const std::filesystem::path& folder);

// Tables of the confirmations, where there are some, of the groups, of the effort to the baseline's
// loss and of all configurations, and the warnings; no line is wider than `width`, where without
// one the tables take about 120 columns.
std::string report_table(const Report& report, std::size_t width = kUnlimitedWidth);
// One line per configuration, numbers in full, a column per setting; RFC 4180. Confirmations first:
// the column `stage` is confirmed or search.
std::string report_csv(const Report& report);
std::string report_json(const Report& report);

}  // namespace blockwise
