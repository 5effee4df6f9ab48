#include "experiments/partitions/partition_candidates.hpp"

#include "experiments/config/candidate_names.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

TEST_CASE("Candidates: those that discovery.candidates may name, and no others") {
  std::vector<std::string> names;
  for (const auto& candidate : partition_candidates()) names.push_back(candidate.name);
  CHECK(names == candidate_names());
}

TEST_CASE("Candidates: every one cuts a section into blocks that have a value at least") {
  for (const auto& small : small_models()) {
    const auto layout = small.spec()->layout();
    for (const auto& parameter : layout.parameters()) {
      for (const auto& view : section_views(parameter)) {
        for (const auto& candidate : partition_candidates()) {
          const auto structure = candidate.structure(view);
          if (!structure) continue;
          INFO(small.name << " " << parameter.name << " " << candidate.name);
          const PartitionSection section{view.role, candidate.name, 0,
                                         view.rows, view.columns,   *structure};
          CHECK(section.state_size() >= 1);
          CHECK(section.block_count() <= section.size());
        }
      }
    }
  }
}
