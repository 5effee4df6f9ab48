#include "experiments/records/named_losses.hpp"

#include <algorithm>
#include <limits>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr const char* kSets = "/validation_sets";
constexpr const char* kNames = "/validation_sets/name";
constexpr double kNotEvaluated = std::numeric_limits<double>::quiet_NaN();

std::string column_of(const std::string& name) { return "/evaluations/loss_" + name; }

}  // namespace

std::vector<double> in_order(const NamedLosses& losses, const std::vector<std::string>& names) {
  std::vector<double> values;
  std::size_t found = 0;
  for (const auto& name : names) {
    const auto at = losses.find(name);
    found += at == losses.end() ? 0U : 1U;
    values.push_back(at == losses.end() ? kNotEvaluated : at->second);
  }
  check_equal(found, losses.size(), "losses of further validation sets");
  return values;
}

void add_named_losses(Hdf5File& file, const std::vector<std::string>& names) {
  auto all = named_loss_sets(file);
  const auto before = all.size();
  for (const auto& name : names) {
    if (std::ranges::count(all, name) > 0) continue;
    all.push_back(name);
    file.create_real_column(column_of(name), "nats", "mean loss per token of this validation set");
    const std::vector<double> none(file.rows("/evaluations/step"), kNotEvaluated);
    file.append(column_of(name), none);
  }
  if (all.size() == before) return;
  if (before == 0) file.create_group(kSets);
  if (file.has(kNames)) file.remove(kNames);
  file.write_text_column(kNames, all, "text", "further validation sets");
}

std::vector<std::string> named_loss_sets(const Hdf5File& file) {
  return file.has(kNames) ? file.text_column(kNames) : std::vector<std::string>();
}

std::int64_t rows_of_all_sets(const Hdf5File& file, std::int64_t evaluations) {
  for (const auto& name : named_loss_sets(file)) {
    evaluations = std::min(evaluations, file.rows(column_of(name)));
  }
  return evaluations;
}

void cut_named_losses(Hdf5File& file) {
  const auto rows = file.rows("/evaluations/step");
  for (const auto& name : named_loss_sets(file)) {
    const auto found = file.rows(column_of(name));
    require_input(found >= rows, "{}: {} rows, the evaluations have {}", column_of(name), found,
                  rows);
    file.truncate(column_of(name), rows);
  }
}

void append_named_losses(Hdf5File& file, const std::vector<std::string>& names,
                         const std::vector<std::vector<double>>& rows) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::vector<double> values;
    for (const auto& row : rows) {
      check_equal(row.size(), names.size(), "losses of further validation sets");
      values.push_back(row[i]);
    }
    file.append(column_of(names[i]), values);
  }
}

std::vector<std::vector<double>> read_named_losses(const Hdf5File& file,
                                                   const std::vector<std::string>& names) {
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto values = file.real_column(column_of(names[i]));
    if (i == 0) rows.resize(values.size());
    rows.resize(std::min(rows.size(), values.size()));
    for (std::size_t row = 0; row < rows.size(); ++row) rows[row].push_back(values[row]);
  }
  return rows;
}

}  // namespace blockwise
