// Rules that derive a partition from a layout: each maps one section of a tensor to a structure.
//
//   adam_mini            query, key: heads; other matrices: output rows; embeddings and head: token
//                        rows; vectors: elements (Zhang et al., arXiv 2406.16793, Algorithm 3, with
//                        vectors per element where the paper takes one value per tensor)
//   released_1_1_1       what the package adam-mini 1.1.1 does: as above, but position embeddings
//                        and norm gains are whole tensors, biases elements, a fused QKV one block,
//                        and a head is dim / n_head rows whatever head_dim is
//   per_tensor           one value per tensor (per section of a fused one)
//   per_row, per_column  one value per output row / input column of a matrix; vectors: elements
//   per_head             query, key, value: heads of rows; attention output: heads of columns;
//                        tensors without heads as adam_mini
//   head_by_column       head x input column: v has one value per head and column; tensors without
//                        row heads as adam_mini
//   per_element          AdamW
//   factored             rank one over rows and columns of a matrix; vectors: elements
//   factored_per_head    the same within each head; tensors without row heads as factored
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/partition/partition.hpp"

namespace blockwise {

// A section as a rule sees it.
struct SectionView {
  const Parameter& parameter;
  ParameterRole role;
  Heads heads;
  std::int64_t rows;
  std::int64_t columns;
  bool is_matrix;
};

// One per section of a tensor; a tensor that is not fused is one section.
std::vector<SectionView> section_views(const Parameter& parameter);

struct PartitionRule {
  std::string name;
  std::string doc;
  // Throws InputError naming the tensor where the rule does not cover it; there is no fallback.
  std::function<Structure(const SectionView&)> structure;
  bool splits_fused = true;  // false: a fused tensor is one section to this rule
};

const std::vector<PartitionRule>& partition_rules();
std::vector<std::string> partition_rule_names();
const PartitionRule& partition_rule(const std::string& name);

// The rule for all tensors, and another one for the roles in `by_role`.
Partition make_partition(const ParameterLayout& layout, const std::string& rule,
                         const std::map<ParameterRole, std::string>& by_role = {});

// The partition, with another rule for the sections whose role is in `by_role`.
Partition with_rules(const ParameterLayout& layout, const Partition& partition,
                     const std::map<ParameterRole, std::string>& by_role);

}  // namespace blockwise
