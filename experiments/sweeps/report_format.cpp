// A report as text for people, as CSV and as JSON.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "core/text/printable_text.hpp"
#include "core/text/text_table.hpp"
#include "experiments/sweeps/csv_text.hpp"
#include "experiments/sweeps/report.hpp"

namespace blockwise {
namespace {

using Cells = std::vector<std::string>;
using Json = nlohmann::ordered_json;
constexpr const char* kNothing = "-";

template <typename T, typename Format>
std::string shown(const std::optional<T>& value, Format format) {
  return value ? format(*value) : kNothing;
}

std::string loss_text(double loss) { return fmt::format("{:.4f}", loss); }

// 1.8321 ± 0.0123
std::string interval_text(const Summary& summary, bool with_sign) {
  auto text =
      with_sign ? fmt::format("{:+.4f}", summary.mean) : fmt::format("{:.4f}", summary.mean);
  if (summary.half_width) text += fmt::format(" ± {:.4f}", *summary.half_width);
  return text;
}

std::string final_loss_text(const ReportRow& row) {
  if (row.final_loss) return interval_text(*row.final_loss, false);
  return row.seeds.diverged > 0 ? "diverged" : kNothing;
}

std::string difference_text(const ReportRow& row) {
  if (row.is_baseline) return "baseline";
  return shown(row.against_baseline,
               [](const auto& test) { return interval_text(test.difference, true); });
}

// Of the test set.
std::string test_loss_text(const ReportRow& row) {
  return shown(row.test_loss, [](const Summary& loss) { return interval_text(loss, false); });
}

std::string test_difference_text(const ReportRow& row) {
  if (row.is_baseline) return "baseline";
  return shown(row.test_against_baseline,
               [](const auto& test) { return interval_text(test.difference, true); });
}

std::string p_text(const std::optional<double>& p) {
  return shown(p, [](double x) { return x < 0.001 ? "<0.001" : fmt::format("{:.3f}", x); });
}

std::string p_value_text(const ReportRow& row) {
  return row.against_baseline ? p_text(row.against_baseline->p_value) : kNothing;
}

std::string bytes_text(std::int64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < std::size(units); ++unit) value /= 1024.0;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string seconds_text(double seconds) {
  return seconds < 1.0 ? fmt::format("{:.1f} ms", seconds * 1000.0)
                       : fmt::format("{:.2f} s", seconds);
}

std::string rate_text(double rate) {
  return rate < 1000.0 ? fmt::format("{:.0f}", rate) : fmt::format("{:.1f}k", rate / 1000.0);
}

// 0.75 (0.70 to 0.80): the geometric mean of the ratios, and its interval.
std::string ratio_text(const PairedTest& log_test) {
  const auto& mean = log_test.difference.mean;
  auto text = fmt::format("{:.2f}", std::exp(mean));
  if (const auto half = log_test.difference.half_width) {
    text += fmt::format(" ({:.2f} to {:.2f})", std::exp(mean - *half), std::exp(mean + *half));
  }
  return text;
}

std::string count_text(double count) {
  if (count < 1e4) return fmt::format("{:.4g}", count);
  return count < 1e7 ? fmt::format("{:.1f}k", count / 1e3) : fmt::format("{:.1f}M", count / 1e6);
}

std::string seeds_text(const SeedCounts& seeds) {
  return seeds.finished == seeds.total() ? fmt::format("{}", seeds.finished)
                                         : fmt::format("{}/{}", seeds.finished, seeds.total());
}

std::string setting(const ReportRow& row, const std::string& path) {
  for (const auto& [name, value] : row.settings) {
    if (name == path) return value;
  }
  return "";
}

// All settings of the report, in the order in which they are first met.
Cells setting_paths(const Report& report) {
  Cells paths;
  for (const auto& row : report.rows) {
    for (const auto& [path, value] : row.settings) {
      if (std::ranges::find(paths, path) == paths.end()) paths.push_back(path);
    }
  }
  return paths;
}

// Those that tell two configurations of one group apart; the others go without saying.
Cells varying_paths(const Report& report) {
  auto paths = setting_paths(report);
  std::erase_if(paths, [&](const std::string& path) {
    return std::ranges::all_of(report.groups, [&](const ReportGroup& group) {
      const auto value = setting(report.rows[group.best], path);
      return std::ranges::all_of(report.rows, [&](const ReportRow& row) {
        return row.group != group.name || setting(row, path) == value;
      });
    });
  });
  return paths;
}

// A column of a table for people.
struct Column {
  std::string title;
  std::function<std::string(const ReportRow&)> cell;
};

std::vector<Column> identity_columns(const Report& report) {
  std::vector<Column> columns = {
      {"group", [](const ReportRow& row) { return printable(row.group); }}};
  for (const auto& path : varying_paths(report)) {
    columns.push_back({printable(path.substr(path.rfind('.') + 1)),
                       [path](const ReportRow& row) { return printable(setting(row, path)); }});
  }
  return columns;
}

// How many configurations the row's group had to choose from.
Column tried_column(const Report& report) {
  return {"tried", [&report](const ReportRow& row) {
            const auto group = std::ranges::find(report.groups, row.group, &ReportGroup::name);
            return fmt::format("{}", group->configurations);
          }};
}

const std::vector<Column>& group_columns() {
  using Row = ReportRow;
  static const std::vector<Column> columns = {
      {"seeds", [](const Row& row) { return seeds_text(row.seeds); }},
      {"final loss", final_loss_text},
      {"difference", difference_text},
      {"p", p_value_text},
      {"Holm", [](const Row& row) { return p_text(row.holm_p_value); }},
      {"optimizer", [](const Row& row) { return shown(row.optimizer_bytes, bytes_text); }},
      {"peak memory", [](const Row& row) { return shown(row.peak_allocated, bytes_text); }},
      {"step", [](const Row& row) { return shown(row.step_seconds, seconds_text); }},
      {"tokens/s", [](const Row& row) { return shown(row.tokens_per_second, rate_text); }}};
  return columns;
}

const std::vector<Column>& configuration_columns() {
  using Row = ReportRow;
  static const std::vector<Column> columns = {
      {"seeds", [](const Row& row) { return seeds_text(row.seeds); }},
      {"final loss", final_loss_text},
      {"sd",
       [](const Row& row) {
         return row.final_loss ? shown(row.final_loss->standard_deviation, loss_text) : kNothing;
       }},
      {"best loss", [](const Row& row) { return shown(row.best_loss, loss_text); }},
      {"difference", difference_text},
      {"p", p_value_text},
      {"Holm", [](const Row& row) { return p_text(row.holm_p_value); }}};
  return columns;
}

bool any_test(const std::vector<ReportRow>& rows) {
  return std::ranges::any_of(rows, [](const ReportRow& row) { return row.test_loss.has_value(); });
}

std::vector<Column> confirmed_columns(const Report& report) {
  using Row = ReportRow;
  std::vector<Column> columns = {{"seeds", [](const Row& row) { return seeds_text(row.seeds); }},
                                 {"final loss", final_loss_text},
                                 {"difference", difference_text},
                                 {"p", p_value_text},
                                 {"Holm", [](const Row& row) { return p_text(row.holm_p_value); }}};
  if (!any_test(report.confirmed)) return columns;
  columns.push_back({"test loss", test_loss_text});
  columns.push_back({"difference", test_difference_text});
  columns.push_back({"p", [](const Row& row) {
                       return row.test_against_baseline ? p_text(row.test_against_baseline->p_value)
                                                        : kNothing;
                     }});
  columns.push_back({"Holm", [](const Row& row) { return p_text(row.test_holm_p_value); }});
  return columns;
}

// A mean effort, or "-" where no seed gets there.
Column effort_column(const std::string& title, double Effort::*what) {
  return {title, [what](const ReportRow& row) {
            return shown(row.time_to_baseline->effort,
                         [what](const Effort& effort) { return count_text(effort.*what); });
          }};
}

// The ratio to the baseline's and its p-value.
void add_ratio(std::vector<Column>& columns, std::optional<PairedTest> TimeToLoss::*test) {
  columns.push_back({"ratio", [test](const ReportRow& row) {
                       if (row.is_baseline) return std::string("baseline");
                       return shown((*row.time_to_baseline).*test, ratio_text);
                     }});
  columns.push_back({"p", [test](const ReportRow& row) {
                       const auto& ratio = (*row.time_to_baseline).*test;
                       return row.is_baseline || !ratio ? kNothing : p_text(ratio->p_value);
                     }});
}

std::vector<Column> time_columns() {
  std::vector<Column> columns = {{"reached", [](const ReportRow& row) {
                                    return fmt::format("{}/{}", row.time_to_baseline->reached,
                                                       row.time_to_baseline->pairs);
                                  }}};
  columns.push_back(effort_column("steps", &Effort::steps));
  add_ratio(columns, &TimeToLoss::log_steps);
  columns.push_back(effort_column("tokens", &Effort::tokens));
  columns.push_back(effort_column("seconds", &Effort::seconds));
  add_ratio(columns, &TimeToLoss::log_seconds);
  return columns;
}

std::string table(const std::vector<const ReportRow*>& rows, const std::vector<Column>& identity,
                  const std::vector<Column>& values, std::size_t width) {
  std::vector<TableColumn> titles;
  for (const auto& column : identity) titles.push_back(key_column(column.title));
  for (const auto& column : values) titles.push_back(value_column(column.title));
  TextTable table(std::move(titles));
  for (const auto* row : rows) {
    Cells cells;
    for (const auto& column : identity) cells.push_back(column.cell(*row));
    for (const auto& column : values) cells.push_back(column.cell(*row));
    table.add(std::move(cells));
  }
  return table.text(width);
}

constexpr const char* kTests =
    "Differences: to the best configuration of {}, paired by seed; negative is better.\n"
    "p: two-sided paired t-test, of each comparison by itself; Holm: corrected for all of them.\n";

std::string caption(const Report& report) {
  auto text =
      fmt::format("{}: validation loss in nats per token, mean ± 95 % interval over seeds.\n",
                  printable(report.name));
  if (report.baseline.empty()) return text;
  return text + fmt::format(kTests, printable(report.baseline));
}

std::string confirmed_text(const Report& report, const std::vector<Column>& identity,
                           std::size_t width) {
  if (report.confirmed.empty()) return "";
  std::set<std::int64_t> seeds;
  std::vector<const ReportRow*> rows;
  for (const auto& row : report.confirmed) {
    rows.push_back(&row);
    for (const auto& [seed, loss] : row.final_losses) seeds.insert(seed);
  }
  auto text = fmt::format(
      "\nConfirmed: the best configuration of each group on seeds that chose nothing ({}).\n",
      fmt::join(seeds, ", "));
  if (any_test(report.confirmed)) {
    text += "The test loss is of the test set, once, after the last step; its tests likewise.\n";
  }
  return wrapped(text, width) + table(rows, identity, confirmed_columns(report), width);
}

// Of the confirmations where there are some, or else of the selected.
std::string time_text(const Report& report, const std::vector<Column>& identity,
                      std::size_t width) {
  std::vector<const ReportRow*> rows;
  const bool confirmed = !report.confirmed.empty();
  for (const auto& row : report.confirmed) rows.push_back(&row);
  for (const auto& group : report.groups) {
    if (!confirmed) rows.push_back(&report.rows[group.best]);
  }
  std::erase_if(rows, [](const ReportRow* row) {
    return !row->time_to_baseline || row->time_to_baseline->pairs == 0;
  });
  if (rows.size() < 2) return "";
  const auto words = fmt::format(
      "\nTo the final loss of {}, each seed to its own, {}: mean over the seeds that reach it, "
      "linear between evaluations.\n"
      "ratio: geometric mean over seeds of own to baseline (95 %); p: two-sided paired t-test of "
      "its logarithm.\n"
      "A seed that does not reach it is censored at its end; then there is no ratio, which would "
      "be of the fast seeds alone.\n",
      printable(report.baseline), confirmed ? "confirmed" : "selected");
  return wrapped(words, width) + table(rows, identity, time_columns(), width);
}

template <typename T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The numbers of a row that CSV and JSON share, by name.
std::vector<std::pair<std::string, Json>> numbers(const ReportRow& row) {
  const auto loss = row.final_loss.value_or(Summary{});
  const auto test = row.against_baseline.value_or(PairedTest{});
  const auto tested = row.test_against_baseline.value_or(PairedTest{});
  const auto mean = [](bool there, const Summary& s) { return there ? Json(s.mean) : Json(); };
  return {{"seeds_finished", row.seeds.finished},
          {"seeds_diverged", row.seeds.diverged},
          {"seeds_failed", row.seeds.failed},
          {"seeds_unfinished", row.seeds.unfinished},
          {"seeds_missing", row.seeds.missing},
          {"final_loss", mean(row.final_loss.has_value(), loss)},
          {"final_loss_standard_deviation", json_of(loss.standard_deviation)},
          {"final_loss_half_width", json_of(loss.half_width)},
          {"best_loss", json_of(row.best_loss)},
          {"difference", mean(row.against_baseline.has_value(), test.difference)},
          {"difference_half_width", json_of(test.difference.half_width)},
          {"difference_pairs", test.difference.count},
          {"p_value", json_of(test.p_value)},
          {"p_value_holm", json_of(row.holm_p_value)},
          {"optimizer_bytes", json_of(row.optimizer_bytes)},
          {"peak_allocated_bytes", json_of(row.peak_allocated)},
          {"step_seconds", json_of(row.step_seconds)},
          {"tokens_per_second", json_of(row.tokens_per_second)},
          {"test_loss", mean(row.test_loss.has_value(), row.test_loss.value_or(Summary{}))},
          {"test_difference", mean(row.test_against_baseline.has_value(), tested.difference)},
          {"test_difference_half_width", json_of(tested.difference.half_width)},
          {"test_p_value", json_of(tested.p_value)},
          {"test_p_value_holm", json_of(row.test_holm_p_value)}};
}

Json effort_json(const std::optional<Effort>& effort) {
  if (!effort) return nullptr;
  return {{"steps", effort->steps}, {"tokens", effort->tokens}, {"seconds", effort->seconds}};
}

Json ratio_json(const std::optional<PairedTest>& log_test) {
  if (!log_test) return nullptr;
  const auto& log = log_test->difference;
  Json json = {{"mean", std::exp(log.mean)}, {"low", nullptr}, {"high", nullptr}};
  if (log.half_width) json["low"] = std::exp(log.mean - *log.half_width);
  if (log.half_width) json["high"] = std::exp(log.mean + *log.half_width);
  json["p_value"] = json_of(log_test->p_value);
  return json;
}

Json time_json(const TimeToLoss& time) {
  return {{"pairs", time.pairs},
          {"reached", time.reached},
          {"effort", effort_json(time.effort)},
          {"steps_ratio", ratio_json(time.log_steps)},
          {"tokens_ratio", ratio_json(time.log_tokens)},
          {"seconds_ratio", ratio_json(time.log_seconds)}};
}

Json row_json(const ReportRow& row) {
  Json json = {{"group", row.group}, {"is_baseline", row.is_baseline}};
  json["settings"] = Json::object();
  for (const auto& [path, value] : row.settings) json["settings"][path] = value;
  for (auto& [name, value] : numbers(row)) json[name] = std::move(value);
  json["final_losses"] = Json::object();
  for (const auto& [seed, loss] : row.final_losses) {
    json["final_losses"][fmt::format("{}", seed)] = loss;
  }
  json["time_to_baseline"] = row.time_to_baseline ? time_json(*row.time_to_baseline) : Json();
  if (row.test_losses.empty()) return json;
  for (const auto& [seed, loss] : row.test_losses) {
    json["test_losses"][fmt::format("{}", seed)] = loss;
  }
  return json;
}

Json swept_json(const SweptKey& key) {
  return {{"key", key.path},
          {"tried", key.tried},
          {"best", json_of(key.best)},
          {"position", key.best ? Json(grid_position_name(key.position)) : Json(nullptr)}};
}

Json group_json(const ReportGroup& group) {
  Json json = {{"name", group.name},
               {"best_configuration", group.best},
               {"configurations", group.configurations},
               {"swept", Json::array()}};
  for (const auto& key : group.swept) json["swept"].push_back(swept_json(key));
  return json;
}

}  // namespace

std::string report_table(const Report& report, std::size_t width) {
  std::vector<const ReportRow*> best, all;
  for (const auto& group : report.groups) best.push_back(&report.rows[group.best]);
  for (const auto& row : report.rows) all.push_back(&row);
  const auto identity = identity_columns(report);
  auto of_groups = group_columns();
  of_groups.insert(of_groups.begin(), tried_column(report));
  auto text = wrapped(caption(report), width) + confirmed_text(report, identity, width) + "\n";
  if (!report.confirmed.empty()) {
    text += wrapped(
        "Selected: the best configuration of each group by the losses shown, which are "
        "low by chance as well.\n",
        width);
  }
  text += table(best, identity, of_groups, width) + time_text(report, identity, width);
  if (all.size() > best.size()) {
    text += "\nAll configurations, best first:\n" +
            table(all, identity, configuration_columns(), width);
  }
  if (!report.warnings.empty()) text += "\n";
  for (const auto& warning : report.warnings) {
    text += wrapped("warning: " + printable(warning) + "\n", width, 2);
  }
  return text;
}

std::string report_csv(const Report& report) {
  const auto paths = setting_paths(report);
  Cells header = {"group"};
  header.insert(header.end(), paths.begin(), paths.end());
  for (const auto& [name, value] : numbers(ReportRow{})) header.push_back(name);
  header.push_back("stage");
  auto text = csv_line(header);
  const auto add = [&](const std::vector<ReportRow>& rows, const char* stage) {
    for (const auto& row : rows) {
      Cells cells = {row.group};
      for (const auto& path : paths) cells.push_back(setting(row, path));
      for (const auto& [name, value] : numbers(row)) {
        cells.push_back(value.is_null() ? "" : value.dump());
      }
      cells.push_back(stage);
      text += csv_line(cells);
    }
  };
  add(report.confirmed, "confirmed");
  add(report.rows, "search");
  return text;
}

std::string report_json(const Report& report) {
  Json json = {{"name", report.name}, {"baseline", report.baseline}, {"confidence", kConfidence}};
  for (const auto* key : {"confirmed", "groups", "configurations", "warnings"}) {
    json[key] = Json::array();
  }
  for (const auto& row : report.confirmed) json["confirmed"].push_back(row_json(row));
  for (const auto& group : report.groups) json["groups"].push_back(group_json(group));
  for (const auto& row : report.rows) json["configurations"].push_back(row_json(row));
  for (const auto& warning : report.warnings) json["warnings"].push_back(warning);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace blockwise
