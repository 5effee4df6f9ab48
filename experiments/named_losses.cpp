#include "experiments/named_losses.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace blockwise {
namespace {

constexpr const char* kSets = "/validation_sets";
constexpr const char* kNames = "/validation_sets/name";

std::string column_of(const std::string& name) { return "/evaluations/loss_" + name; }

}  // namespace

void create_named_losses(Hdf5File& file, const std::vector<std::string>& names) {
  if (names.empty()) return;
  file.create_group(kSets);
  file.write_text_column(kNames, names, "text", "further validation sets");
  for (const auto& name : names) {
    file.create_real_column(column_of(name), "nats", "mean loss per token of this validation set");
  }
}

std::vector<std::string> named_loss_sets(const Hdf5File& file) {
  return file.has(kNames) ? file.text_column(kNames) : std::vector<std::string>();
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
