#include "experiments/report.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <tuple>

#include "core/error.hpp"
#include "core/io/hdf5_mend.hpp"
#include "experiments/holm.hpp"
#include "experiments/run_recorder.hpp"
#include "experiments/sweep_manifest.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLearningRate = "optimizer.learning_rate";

// A run that the report is to read.
struct Member {
  std::string id;
  std::string group;
  std::optional<std::int64_t> seed;  // the run file's own where none is given
  std::vector<std::pair<std::string, std::string>> settings;
  fs::path run;
  std::string hash;  // of the configuration that it is to have run; empty where nobody says
};

struct Runs {
  std::string name;
  std::string baseline;
  std::vector<Member> members;
  std::vector<Member> left_out;  // see SweepManifest
};

Member member_of(const SweepMember& planned, const fs::path& folder) {
  Member member{planned.plan.id,      planned.plan.group, planned.plan.seed, {},
                folder / planned.run, planned.hash};
  for (const auto& [path, value] : planned.plan.overrides) {
    if (path != "seed") member.settings.emplace_back(path, value);
  }
  return member;
}

Runs runs_of_sweep(const fs::path& folder, std::vector<std::string>& warnings) {
  const auto manifest = read_manifest(folder);
  Runs runs{manifest.name, manifest.baseline, {}, {}};
  for (const auto& member : manifest.members) runs.members.push_back(member_of(member, folder));
  for (const auto& member : manifest.left_out) runs.left_out.push_back(member_of(member, folder));
  if (!manifest.has_hashes()) {
    warnings.push_back(fmt::format(
        "{}: without the hashes of its members (written by an earlier version), so nobody checks "
        "that each ran what it says here; `blockwise sweep` with the sweep's YAML file compares "
        "every run with it, runs none again, and adds them",
        manifest_file(folder).string()));
  }
  return runs;
}

// A run folder is a sweep of one.
Runs single_run(const fs::path& folder) {
  const auto name = fs::weakly_canonical(folder).filename().string();
  return {name, "", {{name, name, {}, {}, folder / "run.h5", ""}}, {}};
}

// A run of something else must not stand under the settings that the manifest gives it.
void require_planned(const Member& member, const RunResult& run) {
  require_input(member.hash.empty() || member.hash == run.config_hash,
                "{}: the member '{}' ran another configuration (hash {}) than the manifest says "
                "({})",
                member.run.string(), member.id, run.config_hash, member.hash);
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
    if (!fs::exists(member.run)) {
      ++row_.seeds.missing;
      return;
    }
    mend_abandoned_hdf5(member.run);
    try {
      const auto run = read_run(member.run);
      require_planned(member, run);
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
        ++row_.seeds.diverged;
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

  void add_losses(const RunResult& run, std::int64_t seed) {
    const bool evaluated = !run.evaluations.empty();
    if (evaluated && !std::isfinite(run.evaluations.back().loss)) {
      ++row_.seeds.diverged;
      return;
    }
    ++row_.seeds.finished;
    if (!evaluated) return;
    row_.final_losses[seed] = run.evaluations.back().loss;
    double best = run.evaluations.back().loss;
    for (const auto& evaluation : run.evaluations) best = std::fmin(best, evaluation.loss);
    best_losses_.push_back(best);
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

bool ranks_before(const ReportRow& a, const ReportRow& b) {
  const auto key = [](const ReportRow& row) {
    return std::tuple(!row.final_loss, row.seeds.diverged > 0,
                      row.final_loss ? row.final_loss->mean : 0.0);
  };
  return key(a) < key(b);
}

std::vector<ReportRow> read_rows(const Runs& runs, std::vector<std::string>& warnings) {
  std::vector<RowBuilder> builders;
  for (const auto& member : runs.members) {
    auto builder = std::ranges::find_if(
        builders, [&](const auto& candidate) { return candidate.takes(member); });
    if (builder == builders.end()) builder = builders.insert(builder, RowBuilder(member));
    builder->add(member, warnings);
  }
  std::vector<ReportRow> rows;
  for (auto& builder : builders) rows.push_back(builder.finish());
  std::ranges::stable_sort(rows, ranks_before);
  return rows;
}

void compare(ReportRow& row, const ReportRow& baseline) {
  std::vector<double> own, other;
  for (const auto& [seed, loss] : row.final_losses) {
    const auto pair = baseline.final_losses.find(seed);
    if (pair == baseline.final_losses.end()) continue;
    own.push_back(loss);
    other.push_back(pair->second);
  }
  if (!own.empty()) row.against_baseline = paired_t_test(own, other);
}

void compare_with_baseline(Report& report) {
  const auto best = std::ranges::find(report.rows, report.baseline, &ReportRow::group);
  if (best == report.rows.end()) return;
  if (!best->final_loss) {
    report.warnings.push_back(
        fmt::format("no differences: the baseline {} has no finished run", report.baseline));
    return;
  }
  best->is_baseline = true;
  for (auto& row : report.rows) {
    if (!row.is_baseline) compare(row, *best);
  }
}

// The p-values of all comparisons as one family.
void correct_for_comparisons(std::vector<ReportRow>& rows) {
  std::vector<double> p_values;
  std::vector<ReportRow*> compared;
  for (auto& row : rows) {
    if (!row.against_baseline || !row.against_baseline->p_value) continue;
    p_values.push_back(*row.against_baseline->p_value);
    compared.push_back(&row);
  }
  const auto adjusted = holm_adjusted(p_values);
  for (std::size_t i = 0; i < compared.size(); ++i) compared[i]->holm_p_value = adjusted[i];
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
    if (!fs::exists(member.run)) continue;
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

void warn_of_incomplete(Report& report) {
  for (const auto& row : report.rows) {
    const auto& seeds = row.seeds;
    if (seeds.finished == seeds.total()) continue;
    auto text = fmt::format("{}: {} of {} seeds finished", settings_text(row), seeds.finished,
                            seeds.total());
    for (const auto& [count, what] :
         {std::pair(seeds.diverged, "diverged"), std::pair(seeds.failed, "failed"),
          std::pair(seeds.unfinished, "unfinished"), std::pair(seeds.missing, "not started")}) {
      if (count > 0) text += fmt::format(", {} {}", count, what);
    }
    report.warnings.push_back(std::move(text));
  }
}

}  // namespace

const char* grid_position_name(GridPosition position) {
  constexpr const char* names[] = {"inside", "lowest", "highest", "only"};
  return names[static_cast<std::size_t>(position)];
}

Report make_report(const fs::path& folder) {
  const bool sweep = fs::exists(manifest_file(folder));
  require_input(sweep || fs::exists(folder / "run.h5"),
                "{}: neither the folder of a sweep (no manifest.json) nor of a run (no run.h5)",
                folder.string());
  Report report;
  const auto runs = sweep ? runs_of_sweep(folder, report.warnings) : single_run(folder);
  report.name = runs.name;
  report.baseline = runs.baseline;
  report.rows = read_rows(runs, report.warnings);
  compare_with_baseline(report);
  correct_for_comparisons(report.rows);
  report.groups = make_groups(report.rows);
  count_left_out(report, runs.left_out);
  warn_of_incomplete(report);
  if (!sweep) return report;
  for (const auto& group : report.groups) {
    for (const auto& key : group.swept) warn_of_edge(group.name, key, report.warnings);
  }
  warn_of_unequal_tuning(report);
  return report;
}

}  // namespace blockwise
