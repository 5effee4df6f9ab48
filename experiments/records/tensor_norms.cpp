#include "experiments/records/tensor_norms.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.hpp"
#include "optimizers/kernels/adam.hpp"

namespace blockwise {
namespace {

constexpr const char* kSteps = "/norms/step";
constexpr const char* kNames = "/norms/tensor";

struct NormColumn {
  const char* path;
  std::vector<double> TensorNorms::*values;
  const char* doc;
};
constexpr NormColumn kColumns[] = {
    {"/norms/gradient", &TensorNorms::gradient, "L2 norm of each gradient before clipping"},
    {"/norms/update", &TensorNorms::update, "L2 norm of the change of each tensor"},
    {"/norms/weight", &TensorNorms::weight, "L2 norm of each tensor after the step"},
    {"/norms/rate", &TensorNorms::rate, "learning rate of each tensor, mean over its blocks"}};

double norm_of(const at::Tensor& tensor, kernels::Workspace& workspace) {
  if (tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous()) {
    return std::sqrt(
        kernels::squared_norm(tensor.const_data_ptr<float>(), tensor.numel(), workspace));
  }
  return at::linalg_vector_norm(tensor, 2, {}, false, at::kDouble).item<double>();
}

}  // namespace

TensorNorms measure_norms(const ParameterStore& store, const std::vector<double>& squared_updates,
                          std::int64_t step) {
  at::NoGradGuard no_grad;
  kernels::Workspace workspace;
  TensorNorms norms;
  norms.step = step;
  const auto count = store.layout().parameters().size();
  check_equal(squared_updates.size(), count, "tensors of the last step");
  for (std::size_t i = 0; i < count; ++i) {
    norms.gradient.push_back(norm_of(store.gradient(i), workspace));
    norms.update.push_back(std::sqrt(squared_updates[i]));
    norms.weight.push_back(norm_of(store.master(i), workspace));
  }
  return norms;
}

void create_norm_table(Hdf5File& file, const ParameterLayout& layout) {
  std::vector<std::string> names;
  for (const auto& parameter : layout.parameters()) names.push_back(parameter.name);
  file.create_group("/norms");
  file.write_text_column(kNames, names, "text", "names of the tensors, one per column");
  file.create_integer_column(kSteps, "1", "optimizer steps done, this one included");
  for (const auto& column : kColumns) {
    file.create_real_rows(column.path, std::ssize(names), "1", column.doc);
  }
}

bool has_norm_table(const Hdf5File& file) { return file.has(kSteps); }

namespace {

std::vector<NormColumn> columns_of(const Hdf5File& file) {
  std::vector<NormColumn> columns(std::begin(kColumns), std::end(kColumns));
  if (!file.has(columns.back().path)) columns.pop_back();
  return columns;
}

// A writer that was killed may have left some columns longer than others.
std::int64_t whole_rows(const Hdf5File& file) {
  auto rows = file.rows(kSteps);
  for (const auto& column : columns_of(file)) rows = std::min(rows, file.rows(column.path));
  return rows;
}

}  // namespace

void keep_norms_up_to(Hdf5File& file, std::int64_t step) {
  if (!has_norm_table(file)) return;
  auto steps = file.integer_column(kSteps);
  steps.resize(static_cast<std::size_t>(whole_rows(file)));
  const auto kept = std::ranges::upper_bound(steps, step) - steps.begin();
  file.truncate(kSteps, kept);
  for (const auto& column : columns_of(file)) file.truncate(column.path, kept);
}

void append_norms(Hdf5File& file, const std::vector<TensorNorms>& rows) {
  if (rows.empty()) return;
  std::vector<std::int64_t> steps;
  for (const auto& row : rows) steps.push_back(row.step);
  file.append(kSteps, steps);
  for (const auto& column : columns_of(file)) {
    std::vector<double> values;
    for (const auto& row : rows) {
      const auto& of_row = row.*column.values;
      values.insert(values.end(), of_row.begin(), of_row.end());
    }
    file.append(column.path, values);
  }
}

NormTable read_norms(const Hdf5File& file) {
  NormTable table;
  if (!has_norm_table(file)) return table;
  table.tensors = file.text_column(kNames);
  const auto steps = file.integer_column(kSteps);
  table.rows.resize(std::min(steps.size(), static_cast<std::size_t>(whole_rows(file))));
  const auto width = table.tensors.size();
  for (std::size_t i = 0; i < table.rows.size(); ++i) table.rows[i].step = steps[i];
  for (const auto& column : columns_of(file)) {
    const auto shape = file.array_shape(column.path);
    require_input(shape.size() == 2 && shape[1] == std::ssize(table.tensors),
                  "{}: not a row of {} numbers per step", column.path, width);
    const auto values = file.real_column(column.path);
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      const auto* row = values.data() + i * width;
      (table.rows[i].*column.values).assign(row, row + width);
    }
  }
  return table;
}

}  // namespace blockwise
