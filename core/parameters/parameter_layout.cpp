#include "core/parameters/parameter_layout.hpp"

#include <algorithm>
#include <unordered_set>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Far beyond any machine, and low enough that sums and byte counts of a model cannot overflow.
constexpr std::int64_t kMostParameters = std::int64_t{1} << 48;

void check_heads(const Parameter& parameter, const Heads& heads, std::int64_t rows) {
  if (heads.count == 0) return;
  const std::int64_t axis = heads.axis == Heads::Axis::rows ? rows : parameter.columns();
  require_input(heads.dim > 0 && axis % heads.dim == 0 && axis / heads.dim == heads.count,
                "parameter '{}': {} heads of dimension {} do not fill an axis of length {}",
                parameter.name, heads.count, heads.dim, axis);
}

void check_parameter(const Parameter& parameter) {
  require_input(!parameter.shape.empty(), "parameter '{}' has no shape", parameter.name);
  for (const auto length : parameter.shape) {
    require_input(length > 0, "parameter '{}' has an axis of length {}, at least 1 is needed",
                  parameter.name, length);
  }
  checked_product(fmt::format("elements of parameter '{}'", parameter.name), parameter.shape,
                  kMostParameters);
  check_heads(parameter, parameter.heads, parameter.rows());
  std::int64_t rows = 0;
  for (const auto& section : parameter.sections) {
    check_heads(parameter, section.heads, section.rows);
    rows = checked_sum("rows of the fused sections", rows, section.rows);
  }
  require_input(parameter.sections.empty() || rows == parameter.rows(),
                "parameter '{}': its fused sections have {} rows, the tensor has {}",
                parameter.name, rows, parameter.rows());
}

}  // namespace

ParameterLayout::ParameterLayout(std::vector<Parameter> parameters)
    : parameters_(std::move(parameters)) {
  std::unordered_set<std::string> names;
  for (auto& parameter : parameters_) {
    check_parameter(parameter);
    require_input(names.insert(parameter.name).second, "two parameters are named '{}'",
                  parameter.name);
    for (const auto& tied : parameter.tied_names) {
      require_input(names.insert(tied).second, "two parameters are named '{}'", tied);
    }
    parameter.offset = size_;
    size_ = checked_sum("parameters of the model", size_, parameter.size(), kMostParameters);
  }
}

std::int64_t ParameterLayout::layer_count() const {
  std::int64_t last = -1;
  for (const auto& parameter : parameters_) last = std::max(last, parameter.layer);
  return last + 1;
}

std::size_t ParameterLayout::index_of(std::string_view name) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& tied = parameters_[i].tied_names;
    if (parameters_[i].name == name || std::find(tied.begin(), tied.end(), name) != tied.end())
      return i;
  }
  throw InputError(fmt::format("the model has no parameter '{}'", name));
}

}  // namespace blockwise
