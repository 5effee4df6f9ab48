// A report as text for people, as CSV and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/text_table.hpp"
#include "experiments/csv_text.hpp"
#include "experiments/printable_text.hpp"
#include "experiments/report.hpp"

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

std::string caption(const Report& report) {
  auto text =
      fmt::format("{}: validation loss in nats per token, mean ± 95 % interval over seeds.\n",
                  printable(report.name));
  if (report.baseline.empty()) return text;
  return text + fmt::format(
                    "Differences: to the best configuration of {}, paired by seed; negative is "
                    "better.\np: two-sided paired t-test, of each comparison by itself; Holm: "
                    "corrected for "
                    "all of them.\n",
                    printable(report.baseline));
}

template <typename T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The numbers of a row that CSV and JSON share, by name.
std::vector<std::pair<std::string, Json>> numbers(const ReportRow& row) {
  const auto loss = row.final_loss.value_or(Summary{});
  const auto test = row.against_baseline.value_or(PairedTest{});
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
          {"tokens_per_second", json_of(row.tokens_per_second)}};
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
  auto text = wrapped(caption(report), width) + "\n" + table(best, identity, of_groups, width);
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
  auto text = csv_line(header);
  for (const auto& row : report.rows) {
    Cells cells = {row.group};
    for (const auto& path : paths) cells.push_back(setting(row, path));
    for (const auto& [name, value] : numbers(row)) {
      cells.push_back(value.is_null() ? "" : value.dump());
    }
    text += csv_line(cells);
  }
  return text;
}

std::string report_json(const Report& report) {
  Json json = {{"name", report.name}, {"baseline", report.baseline}, {"confidence", kConfidence}};
  for (const auto* key : {"groups", "configurations", "warnings"}) json[key] = Json::array();
  for (const auto& group : report.groups) json["groups"].push_back(group_json(group));
  for (const auto& row : report.rows) json["configurations"].push_back(row_json(row));
  for (const auto& warning : report.warnings) json["warnings"].push_back(warning);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace blockwise
