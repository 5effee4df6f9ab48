// Which whole sections are merged, from couplings that are given.
#include "experiments/partitions/partition_merges.hpp"

#include <ATen/ATen.h>

#include "experiments/partitions/section_candidates.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

Parameter parameter(const std::string& name, std::vector<std::int64_t> shape) {
  Parameter block;
  block.name = name;
  block.role = ParameterRole::mlp_in;
  block.shape = std::move(shape);
  return block;
}

// Four matrices and, between them, a vector, which is not searched.
struct Merging {
  ParameterLayout layout{{parameter("a", {4, 2}), parameter("norm", {4}), parameter("b", {4, 2}),
                          parameter("c", {4, 2}), parameter("d", {4, 2})}};
  DiscoveryConfig config;
  std::vector<SectionScores> sections = all_sections(config, layout);
  SectionVectors vectors{layout, config, sections};

  std::vector<std::int64_t> merged(const AtomGraph& couplings) {
    for (auto& section : sections) section.merged = -1;
    merge_sections(couplings, vectors, sections);
    std::vector<std::int64_t> numbers;
    for (const auto& section : sections) numbers.push_back(section.merged);
    return numbers;
  }

  void choose(std::size_t section, const std::string& name) {
    auto& candidates = sections[section].candidates;
    sections[section].chosen = static_cast<std::size_t>(
        std::ranges::find(candidates, name, &CandidateScore::name) - candidates.begin());
  }
};

// Of the four matrices, with links between the pairs and no noise.
AtomGraph couplings_between(const std::vector<std::pair<std::int64_t, std::int64_t>>& pairs) {
  const auto number = at::TensorOptions().dtype(at::kDouble);
  AtomGraph graph;
  graph.links = at::eye(4, number);
  for (const auto& [i, j] : pairs) {
    graph.links[i][j] = 1.0;
    graph.links[j][i] = 1.0;
  }
  graph.rows = graph.links.sum(1);
  graph.peaks = at::zeros({4, 4}, number);
  graph.null = {at::zeros({4, 4}, number), at::zeros({4, 4}, number)};
  return graph;
}

}  // namespace

TEST_CASE("Merges: whole sections that the Hessian couples share a number, others have none") {
  Merging model;
  for (std::size_t s : {0, 2, 3, 4}) model.choose(s, "whole");
  CHECK(model.merged(couplings_between({})) == std::vector<std::int64_t>{-1, -1, -1, -1, -1});
  CHECK(model.merged(couplings_between({{0, 2}})) == std::vector<std::int64_t>{0, -1, -1, 0, -1});
  CHECK(model.merged(couplings_between({{0, 2}, {1, 3}})) ==
        std::vector<std::int64_t>{0, -1, 1, 0, 1});
}

TEST_CASE("Merges: a section with several values is merged with none, nor is one left alone") {
  Merging model;
  for (std::size_t s : {0, 2, 3, 4}) model.choose(s, "whole");
  model.choose(3, "row");
  CHECK(model.merged(couplings_between({{0, 2}})) == std::vector<std::int64_t>{-1, -1, -1, -1, -1});
  CHECK(model.merged(couplings_between({{0, 2}, {0, 1}, {1, 2}})) ==
        std::vector<std::int64_t>{0, -1, 0, -1, -1});
  model.choose(3, "element");
  CHECK(model.merged(couplings_between({{0, 2}})) == std::vector<std::int64_t>{-1, -1, -1, -1, -1});
}

TEST_CASE("Merges: a link that is no larger than what noise makes joins nothing") {
  Merging model;
  for (std::size_t s : {0, 2, 3, 4}) model.choose(s, "whole");
  auto couplings = couplings_between({{0, 2}});
  couplings.null = {3.0 * at::ones({4, 4}, at::kDouble), -3.0 * at::ones({4, 4}, at::kDouble)};
  CHECK(model.merged(couplings) == std::vector<std::int64_t>{-1, -1, -1, -1, -1});
}
