#include "core/parameters/parameter_layout.hpp"

#include <algorithm>
#include <unordered_set>

#include "core/base/checked_math.hpp"
#include "core/base/error.hpp"

namespace blockwise {
namespace {

// Far beyond any machine, and low enough that sums and byte counts of a model cannot overflow.
constexpr std::int64_t kMostParameters = std::int64_t{1} << 48;

void check_heads(const ParameterBlock& block, const Heads& heads, std::int64_t rows) {
  if (heads.count == 0) return;
  const std::int64_t axis = heads.axis == Heads::Axis::rows ? rows : block.columns();
  require_input(heads.dim > 0 && axis % heads.dim == 0 && axis / heads.dim == heads.count,
                "parameter '{}': {} heads of dimension {} do not fill an axis of length {}",
                block.name, heads.count, heads.dim, axis);
}

void check_block(const ParameterBlock& block) {
  require_input(!block.shape.empty(), "parameter '{}' has no shape", block.name);
  for (const auto length : block.shape) {
    require_input(length > 0, "parameter '{}' has an axis of length {}, at least 1 is needed",
                  block.name, length);
  }
  checked_product(fmt::format("elements of parameter '{}'", block.name), block.shape,
                  kMostParameters);
  check_heads(block, block.heads, block.rows());
  std::int64_t rows = 0;
  for (const auto& section : block.sections) {
    check_heads(block, section.heads, section.rows);
    rows = checked_sum("rows of the fused sections", rows, section.rows);
  }
  require_input(block.sections.empty() || rows == block.rows(),
                "parameter '{}': its fused sections have {} rows, the tensor has {}", block.name,
                rows, block.rows());
}

}  // namespace

ParameterLayout::ParameterLayout(std::vector<ParameterBlock> blocks) : blocks_(std::move(blocks)) {
  std::unordered_set<std::string> names;
  for (auto& block : blocks_) {
    check_block(block);
    require_input(names.insert(block.name).second, "two parameters are named '{}'", block.name);
    for (const auto& tied : block.tied_names) {
      require_input(names.insert(tied).second, "two parameters are named '{}'", tied);
    }
    block.offset = size_;
    size_ = checked_sum("parameters of the model", size_, block.size(), kMostParameters);
  }
}

std::size_t ParameterLayout::index_of(std::string_view name) const {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto& tied = blocks_[i].tied_names;
    if (blocks_[i].name == name || std::find(tied.begin(), tied.end(), name) != tied.end())
      return i;
  }
  throw InputError(fmt::format("the model has no parameter '{}'", name));
}

}  // namespace blockwise
