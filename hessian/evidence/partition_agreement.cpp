#include "hessian/evidence/partition_agreement.hpp"

#include <algorithm>

#include "core/partition/section_blocks.hpp"
#include "hessian/evidence/atom_graph.hpp"

namespace blockwise {
namespace {

bool same_rows(const TensorPartition& a, const TensorPartition& b) {
  return std::ranges::equal(a.sections, b.sections, [](const auto& x, const auto& y) {
    return x.row_begin == y.row_begin && x.rows == y.rows;
  });
}

double section_agreement(const PartitionSection& a, const PartitionSection& b) {
  const auto factored = Structure::Kind::factored;
  if ((a.structure.kind == factored) != (b.structure.kind == factored)) return 0.0;
  return adjusted_rand(labels_of(a), labels_of(b));
}

bool equal_structures(const PartitionSection& a, const PartitionSection& b) {
  const auto factored = Structure::Kind::factored;
  return (a.structure.kind == factored) == (b.structure.kind == factored) &&
         labels_of(a) == labels_of(b);
}

}  // namespace

PartitionAgreement partition_agreement(const ParameterLayout& layout, const Partition& a,
                                       const Partition& b) {
  PartitionAgreement agreement;
  for (std::size_t t = 0; t < layout.parameters().size(); ++t) {
    const auto& first = a.tensors()[t];
    const auto& second = b.tensors()[t];
    if (!layout.parameters()[t].is_matrix()) continue;
    const bool comparable = same_rows(first, second);
    for (std::size_t s = 0; s < first.sections.size(); ++s) {
      ++agreement.sections;
      if (!comparable) continue;
      agreement.adjusted_rand += section_agreement(first.sections[s], second.sections[s]);
      agreement.same_structure += equal_structures(first.sections[s], second.sections[s]) ? 1 : 0;
    }
  }
  const double n = std::max(1.0, double(agreement.sections));
  agreement.adjusted_rand /= n;
  agreement.same_structure /= n;
  return agreement;
}

}  // namespace blockwise
