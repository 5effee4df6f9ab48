#include "core/partition/partition_rules.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/partition/partition_report.hpp"

namespace blockwise {
namespace {

Structure whole(const SectionView& s) { return Structure::tiles(s.rows, s.columns); }

Structure per_row(const SectionView& s) {
  return s.is_matrix ? Structure::tiles(1, s.columns) : Structure::per_element();
}

Structure per_column(const SectionView& s) {
  return s.is_matrix ? Structure::tiles(s.rows, 1) : Structure::per_element();
}

bool has_row_heads(const SectionView& s) {
  return s.heads.count > 0 && s.heads.axis == Heads::Axis::rows;
}

Structure adam_mini(const SectionView& s) {
  if (!s.is_matrix) return Structure::per_element();
  switch (s.role) {
    case ParameterRole::query:
    case ParameterRole::key:
      require_input(has_row_heads(s), "rule adam_mini: '{}' is a {} without heads",
                    s.parameter.name, role_name(s.role));
      return Structure::tiles(s.heads.dim, s.columns);
    case ParameterRole::norm:
    case ParameterRole::bias:
      throw InputError(fmt::format("rule adam_mini: '{}' is a {} with more than one axis",
                                   s.parameter.name, role_name(s.role)));
    default:
      return per_row(s);
  }
}

Structure released_1_1_1(const SectionView& s) {
  if (s.parameter.released == ReleasedTreatment::whole) return whole(s);
  switch (s.role) {
    case ParameterRole::bias:
      return Structure::per_element();
    case ParameterRole::norm:
    case ParameterRole::position_embedding:
      return whole(s);
    case ParameterRole::query:
    case ParameterRole::key: {
      // The package cuts the tensor into runs of dim * dim / n_head elements; n_head is the number
      // of query heads, also for keys under grouped-query attention, so with columns = dim a run is
      // dim / n_head rows. Equal to a head only where head_dim = dim / n_head.
      const std::int64_t query_heads = s.heads.count * s.heads.queries_per_head;
      require_input(query_heads > 0 && s.columns % query_heads == 0,
                    "rule released_1_1_1: '{}' has {} columns, not a multiple of {} query heads",
                    s.parameter.name, s.columns, query_heads);
      const std::int64_t rows = s.columns / query_heads;
      require_input(s.rows % rows == 0,
                    "rule released_1_1_1: '{}' has {} rows, not a multiple of {}", s.parameter.name,
                    s.rows, rows);
      return Structure::tiles(rows, s.columns);
    }
    default:
      require_input(s.is_matrix, "rule released_1_1_1: '{}' is a vector with role {}",
                    s.parameter.name, role_name(s.role));
      return per_row(s);
  }
}

Structure per_head(const SectionView& s) {
  if (s.heads.count == 0) return adam_mini(s);
  return s.heads.axis == Heads::Axis::rows ? Structure::tiles(s.heads.dim, s.columns)
                                           : Structure::tiles(s.rows, s.heads.dim);
}

Structure head_by_column(const SectionView& s) {
  return has_row_heads(s) ? Structure::tiles(s.heads.dim, 1) : adam_mini(s);
}

Structure per_element(const SectionView&) { return Structure::per_element(); }

Structure factored(const SectionView& s) {
  return s.is_matrix ? Structure::factored(s.rows) : Structure::per_element();
}

Structure factored_per_head(const SectionView& s) {
  return s.is_matrix && has_row_heads(s) ? Structure::factored(s.heads.dim) : factored(s);
}

std::vector<SectionView> views_of(const Parameter& parameter, bool split) {
  if (split) return section_views(parameter);
  return {{parameter, parameter.role, parameter.heads, parameter.rows(), parameter.columns(),
           parameter.is_matrix()}};
}

TensorPartition partition_tensor(const Parameter& parameter, const PartitionRule& rule,
                                 const std::map<ParameterRole, std::string>& by_role) {
  TensorPartition tensor;
  std::int64_t row = 0;
  const bool overridden =
      std::any_of(parameter.sections.begin(), parameter.sections.end(),
                  [&](const FusedSection& s) { return by_role.count(s.role) > 0; });
  for (const auto& view : views_of(parameter, rule.splits_fused || overridden)) {
    const auto found = by_role.find(view.role);
    const auto& chosen = found == by_role.end() ? rule : partition_rule(found->second);
    tensor.sections.push_back(
        {view.role, chosen.name, row, view.rows, view.columns, chosen.structure(view), 0});
    row += view.rows;
  }
  return tensor;
}

}  // namespace

std::vector<SectionView> section_views(const Parameter& parameter) {
  if (parameter.sections.empty()) {
    return {{parameter, parameter.role, parameter.heads, parameter.rows(), parameter.columns(),
             parameter.is_matrix()}};
  }
  std::vector<SectionView> views;
  for (const auto& section : parameter.sections) {
    views.push_back({parameter, section.role, section.heads, section.rows, parameter.columns(),
                     parameter.is_matrix()});
  }
  return views;
}

const std::vector<PartitionRule>& partition_rules() {
  static const std::vector<PartitionRule> rules = {
      {"adam_mini", "query and key per head, other matrices per output row, vectors per element",
       adam_mini},
      {"released_1_1_1", "what the package adam-mini 1.1.1 does to each tensor", released_1_1_1,
       false},
      {"per_tensor", "one value per tensor", whole},
      {"per_row", "one value per output row", per_row},
      {"per_column", "one value per input column", per_column},
      {"per_head", "one value per attention head; adam_mini where there are no heads", per_head},
      {"head_by_column", "one value per head and input column; adam_mini without heads",
       head_by_column},
      {"per_element", "one value per element: AdamW", per_element},
      {"factored", "rank one over rows and columns", factored},
      {"factored_per_head", "rank one within each head; factored without heads", factored_per_head},
  };
  return rules;
}

std::vector<std::string> partition_rule_names() {
  std::vector<std::string> names;
  for (const auto& rule : partition_rules()) names.push_back(rule.name);
  return names;
}

const PartitionRule& partition_rule(const std::string& name) {
  const auto& rules = partition_rules();
  const auto found =
      std::find_if(rules.begin(), rules.end(), [&](const auto& rule) { return rule.name == name; });
  require_input(found != rules.end(), "unknown partition rule '{}'", name);
  return *found;
}

Partition make_partition(const ParameterLayout& layout, const std::string& rule,
                         const std::map<ParameterRole, std::string>& by_role) {
  std::vector<TensorPartition> tensors;
  std::string name = rule;
  for (const auto& [role, other] : by_role) name += fmt::format(", {}: {}", role_name(role), other);
  for (const auto& parameter : layout.parameters()) {
    tensors.push_back(partition_tensor(parameter, partition_rule(rule), by_role));
  }
  return Partition(layout, std::move(name), std::move(tensors));
}

Partition with_rules(const ParameterLayout& layout, const Partition& partition,
                     const std::map<ParameterRole, std::string>& by_role) {
  auto tensors = partition.tensors();
  auto name = partition.rule();
  for (const auto& [role, rule] : by_role) name += fmt::format(", {}: {}", role_name(role), rule);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto views = section_views(layout.parameters()[i]);
    for (std::size_t s = 0; s < tensors[i].sections.size(); ++s) {
      auto& section = tensors[i].sections[s];
      const auto found = by_role.find(section.role);
      if (found == by_role.end()) continue;
      const auto& parameter = layout.parameters()[i];
      require_input(views.size() == tensors[i].sections.size(),
                    "'{}': its sections are not the model's, so no rule by role fits",
                    parameter.name);
      const auto& rule = partition_rule(found->second);
      section.rule = rule.name;
      section.structure = rule.structure(views[s]);
    }
  }
  return Partition(layout, std::move(name), std::move(tensors));
}

}  // namespace blockwise
