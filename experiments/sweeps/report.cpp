#include "experiments/sweeps/report.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/io/hdf5_mend.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/planned_file.hpp"
#include "experiments/sweeps/report_comparison.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLearningRate = "optimizer.learning_rate";

using Member = PlannedFile;

struct Runs {
  std::string name;
  std::string baseline;
  std::vector<Member> members;
  std::vector<Member> left_out;       // see SweepManifest
  std::vector<Member> confirmations;  // the same
};

Runs runs_of_sweep(const fs::path& folder, std::vector<std::string>& warnings) {
  const auto manifest = read_manifest(folder);
  Runs runs{manifest.name, manifest.baseline, {}, {}, {}};
  for (const auto& member : manifest.members) runs.members.push_back(planned_file(member, folder));
  for (const auto& member : manifest.left_out)
    runs.left_out.push_back(planned_file(member, folder));
  for (const auto& member : manifest.confirmations) {
    runs.confirmations.push_back(planned_file(member, folder));
  }
  if (!manifest.has_hashes()) {
    warnings.push_back(fmt::format(
        "{}: without the hashes of its members (written by an earlier version), so nobody checks "
        "that each ran what it says here; `blockwise sweep` with the sweep's YAML file compares "
        "every run with it, runs none again, and adds them",
        manifest_file(folder).string()));
  }
  return runs;
}

Runs single_run(const fs::path& folder) {
  const auto run = single_file(folder);
  return {run.id, "", {run}, {}, {}};
}

std::string settings_text(const ReportRow& row) {
  std::string text = row.group;
  for (const auto& [path, value] : row.settings) text += fmt::format(" {}={}", path, value);
  return text;
}

// Gathers the runs of one configuration.
class RowBuilder {
 public:
  explicit RowBuilder(const Member& member) {
    row_.group = member.group;
    row_.settings = member.settings;
  }

  bool takes(const Member& member) const {
    return member.group == row_.group && member.settings == row_.settings;
  }

  void add(const Member& member, std::vector<std::string>& warnings) {
    try {
      if (!input_exists(member.run)) {
        ++row_.seeds.missing;
        return;
      }
      mend_abandoned_hdf5(member.run);
      const auto run = read_run(member.run);
      require_planned(member, run);
      if (is_to_grow(member, run)) {
        ++row_.seeds.unfinished;
        return;
      }
      add(run, member.seed.value_or(run.provenance.seed));
    } catch (const InputError& error) {
      ++row_.seeds.failed;
      warnings.push_back(fmt::format("counted as failed: {}", error.what()));
    }
  }

  ReportRow finish() {
    std::vector<double> losses;
    for (const auto& [seed, loss] : row_.final_losses) losses.push_back(loss);
    if (!losses.empty()) row_.final_loss = summarize(losses);
    std::vector<double> test_losses;
    for (const auto& [seed, loss] : row_.test_losses) test_losses.push_back(loss);
    if (!test_losses.empty()) row_.test_loss = summarize(test_losses);
    row_.best_loss = mean_of(best_losses_);
    row_.step_seconds = mean_of(step_seconds_);
    row_.tokens_per_second = mean_of(tokens_per_second_);
    return std::move(row_);
  }

 private:
  static std::optional<double> mean_of(const std::vector<double>& values) {
    if (values.empty()) return std::nullopt;
    return summarize(values).mean;
  }

  void add(const RunResult& run, std::int64_t seed) {
    switch (run.state) {
      case RunState::finished:
        add_losses(run, seed);
        break;
      case RunState::diverged:
        add_diverged(seed);
        break;
      case RunState::failed:
        ++row_.seeds.failed;
        break;
      case RunState::running:
      case RunState::interrupted:
        ++row_.seeds.unfinished;
        break;
    }
    if (!run.steps.empty()) add_costs(run);
  }

  // It came down to no loss, whatever it passed on its way.
  void add_diverged(std::int64_t seed) {
    ++row_.seeds.diverged;
    row_.courses[seed] = {};
  }

  void add_losses(const RunResult& run, std::int64_t seed) {
    const bool evaluated = !run.evaluations.empty();
    if (evaluated && !std::isfinite(run.evaluations.back().loss)) {
      add_diverged(seed);
      return;
    }
    ++row_.seeds.finished;
    if (!evaluated) return;
    row_.final_losses[seed] = run.evaluations.back().loss;
    double best = run.evaluations.back().loss;
    for (const auto& evaluation : run.evaluations) best = std::fmin(best, evaluation.loss);
    best_losses_.push_back(best);
    row_.courses[seed] = loss_course(run);
    row_.found_on.insert(run.found_on.begin(), run.found_on.end());
    if (run.test && std::isfinite(run.test->loss)) row_.test_losses[seed] = run.test->loss;
  }

  void add_costs(const RunResult& run) {
    row_.optimizer_bytes = std::max(row_.optimizer_bytes.value_or(0), run.optimizer_bytes);
    row_.peak_allocated = std::max(row_.peak_allocated.value_or(0), run.peak_allocated);
    std::vector<double> seconds, rates;
    for (const auto& step : run.steps) {
      seconds.push_back(step.seconds);
      rates.push_back(step.tokens_per_second);
    }
    step_seconds_.push_back(median(std::move(seconds)));
    tokens_per_second_.push_back(median(std::move(rates)));
  }

  ReportRow row_;
  std::vector<double> best_losses_;
  std::vector<double> step_seconds_;
  std::vector<double> tokens_per_second_;
};

std::vector<ReportRow> read_rows(const std::vector<Member>& members,
                                 std::vector<std::string>& warnings) {
  std::vector<RowBuilder> builders;
  for (const auto& member : members) {
    auto builder = std::ranges::find_if(
        builders, [&](const auto& candidate) { return candidate.takes(member); });
    if (builder == builders.end()) builder = builders.insert(builder, RowBuilder(member));
    builder->add(member, warnings);
  }
  std::vector<ReportRow> rows;
  for (auto& builder : builders) rows.push_back(builder.finish());
  rank_rows(rows);
  return rows;
}

// The best configuration of the baseline group, where it has one that finished.
std::optional<std::size_t> baseline_row(const std::vector<ReportRow>& rows,
                                        const std::string& baseline) {
  const auto best = std::ranges::find(rows, baseline, &ReportRow::group);
  if (best == rows.end() || !best->final_loss) return std::nullopt;
  return static_cast<std::size_t>(best - rows.begin());
}

void compare_with_baseline(Report& report) {
  if (report.baseline.empty()) return;
  if (const auto best = baseline_row(report.rows, report.baseline)) {
    return compare_rows(report.rows, *best);
  }
  if (std::ranges::find(report.rows, report.baseline, &ReportRow::group) == report.rows.end()) {
    return;
  }
  report.warnings.push_back(
      fmt::format("no differences: the baseline {} has no finished run", report.baseline));
}

std::optional<double> number_of(const ReportRow& row, const std::string& path) {
  const auto found =
      std::ranges::find(row.settings, path, &std::pair<std::string, std::string>::first);
  if (found == row.settings.end()) return std::nullopt;
  const auto& text = found->second;
  double value = 0.0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

GridPosition position_of(double value, const std::vector<double>& grid) {
  if (grid.size() == 1) return GridPosition::only;
  if (value == grid.front()) return GridPosition::lowest;
  return value == grid.back() ? GridPosition::highest : GridPosition::inside;
}

SweptKey swept_key(const std::vector<const ReportRow*>& rows, const std::string& path) {
  SweptKey key{path, {}, {}, GridPosition::inside};
  std::set<double> grid;
  for (const auto* row : rows) {
    if (const auto value = number_of(*row, path)) grid.insert(*value);
  }
  key.tried.assign(grid.begin(), grid.end());
  if (rows.front()->final_loss) key.best = number_of(*rows.front(), path);
  if (key.best) key.position = position_of(*key.best, key.tried);
  return key;
}

// `rows` are the group's, best first.
ReportGroup make_group(const std::vector<const ReportRow*>& rows, std::size_t best) {
  ReportGroup group{rows.front()->group, best, std::ssize(rows), {}};
  for (const auto& [path, value] : rows.front()->settings) {
    auto key = swept_key(rows, path);
    const bool told = key.tried.size() > 1 || (path == kLearningRate && !key.tried.empty());
    if (told) group.swept.push_back(std::move(key));
  }
  return group;
}

std::vector<ReportGroup> make_groups(const std::vector<ReportRow>& rows) {
  std::vector<ReportGroup> groups;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (std::ranges::find(groups, rows[i].group, &ReportGroup::name) != groups.end()) continue;
    std::vector<const ReportRow*> own;
    for (const auto& row : rows) {
      if (row.group == rows[i].group) own.push_back(&row);
    }
    groups.push_back(make_group(own, i));
  }
  return groups;
}

// A configuration that ran and was dropped from the sweep's file had its chance to be the best.
void count_left_out(Report& report, const std::vector<Member>& left_out) {
  std::set<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> known;
  for (const auto& row : report.rows) known.insert({row.group, row.settings});
  std::map<std::string, std::int64_t> dropped;
  for (const auto& member : left_out) {
    std::error_code unknown;
    if (!fs::exists(member.run, unknown)) continue;
    if (known.insert({member.group, member.settings}).second) ++dropped[member.group];
  }
  for (const auto& [name, count] : dropped) {
    const auto group = std::ranges::find(report.groups, name, &ReportGroup::name);
    if (group != report.groups.end()) group->configurations += count;
    report.warnings.push_back(
        fmt::format("{}: {} configurations that ran are no longer in the sweep's file; they stand "
                    "in no table and count as tried",
                    name, count));
  }
}

// The best configuration of each group, again on seeds that chose nothing.
void read_confirmations(Report& report, const std::vector<Member>& confirmations) {
  if (confirmations.empty()) return;
  std::vector<Member> of_best;
  for (const auto& group : report.groups) {
    const auto& best = report.rows[group.best];
    const auto before = of_best.size();
    for (const auto& member : confirmations) {
      const bool is_best = member.group == best.group && member.settings == best.settings;
      if (is_best) of_best.push_back(member);
    }
    if (of_best.size() == before) {
      report.warnings.push_back(
          fmt::format("{}: its best configuration is not confirmed: `blockwise sweep` or "
                      "`blockwise report --confirm` runs it again on other seeds",
                      group.name));
    }
  }
  report.confirmed = read_rows(of_best, report.warnings);
  const auto baseline = baseline_row(report.confirmed, report.baseline);
  if (baseline) compare_rows(report.confirmed, *baseline);
}

// A partition, or rates, that were fitted to a seed's parameters and batches look better there.
void warn_of_found_on(Report& report) {
  std::set<std::string> told;
  for (const auto* rows : {&report.confirmed, &report.rows}) {
    for (const auto& row : *rows) {
      std::vector<std::int64_t> shared;
      for (const auto& [seed, loss] : row.final_losses) {
        if (row.found_on.contains(seed)) shared.push_back(seed);
      }
      if (shared.empty() || !told.insert(row.group).second) continue;
      report.warnings.push_back(fmt::format(
          "{}: its partition or rates were found on seed {}, which is among the seeds that judge "
          "it; find them on another one (--set seed=...)",
          row.group, fmt::join(shared, ", ")));
    }
  }
}

void warn_of_edge(const std::string& group, const SweptKey& key,
                  std::vector<std::string>& warnings) {
  if (!key.best || key.position == GridPosition::inside) return;
  warnings.push_back(
      key.position == GridPosition::only
          ? fmt::format("{}: {} {} is the only one tried", group, key.path, *key.best)
          : fmt::format("{}: the best {} {} is the {} of the {} tried; a better one may lie beyond",
                        group, key.path, *key.best, grid_position_name(key.position),
                        key.tried.size()));
}

// With more configurations to choose from, the best of a group is lower by chance alone.
void warn_of_unequal_tuning(Report& report) {
  const auto [least, most] =
      std::ranges::minmax_element(report.groups, {}, &ReportGroup::configurations);
  if (report.groups.empty() || least->configurations == most->configurations) return;
  report.warnings.push_back(fmt::format(
      "unequal tuning: {} is the best of {} configurations, {} of {}; the best of more is lower by "
      "chance alone",
      least->name, least->configurations, most->name, most->configurations));
}

void warn_of_incomplete(const std::vector<ReportRow>& rows, const std::string& what,
                        std::vector<std::string>& warnings) {
  for (const auto& row : rows) {
    const auto& seeds = row.seeds;
    if (seeds.finished == seeds.total()) continue;
    auto text = fmt::format("{}{}: {} of {} seeds finished", what, settings_text(row),
                            seeds.finished, seeds.total());
    for (const auto& [count, state] :
         {std::pair(seeds.diverged, "diverged"), std::pair(seeds.failed, "failed"),
          std::pair(seeds.unfinished, "unfinished"), std::pair(seeds.missing, "not started")}) {
      if (count > 0) text += fmt::format(", {} {}", count, state);
    }
    warnings.push_back(std::move(text));
  }
}

}  // namespace

const char* grid_position_name(GridPosition position) {
  constexpr const char* names[] = {"inside", "lowest", "highest", "only"};
  return names[static_cast<std::size_t>(position)];
}

Report make_report(const fs::path& folder) {
  const bool sweep = input_exists(manifest_file(folder));
  require_input(sweep || input_exists(folder / "run.h5"),
                "{}: neither the folder of a sweep (no manifest.json) nor of a run (no run.h5)",
                folder.string());
  Report report;
  const auto runs = sweep ? runs_of_sweep(folder, report.warnings) : single_run(folder);
  report.name = runs.name;
  report.baseline = runs.baseline;
  report.rows = read_rows(runs.members, report.warnings);
  compare_with_baseline(report);
  report.groups = make_groups(report.rows);
  count_left_out(report, runs.left_out);
  read_confirmations(report, runs.confirmations);
  warn_of_incomplete(report.confirmed, "confirmation of ", report.warnings);
  warn_of_incomplete(report.rows, "", report.warnings);
  if (!sweep) return report;
  warn_of_found_on(report);
  for (const auto& group : report.groups) {
    for (const auto& key : group.swept) warn_of_edge(group.name, key, report.warnings);
  }
  warn_of_unequal_tuning(report);
  return report;
}

}  // namespace blockwise
