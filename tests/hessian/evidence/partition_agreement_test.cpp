#include "hessian/evidence/partition_agreement.hpp"

#include "core/partition/partition_rules.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

Parameter parameter(const std::string& name, std::vector<std::int64_t> shape) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = std::move(shape);
  return parameter;
}

// Two matrices, and a vector that counts for nothing.
ParameterLayout two_matrices() {
  return ParameterLayout({parameter("a", {6, 4}), parameter("norm", {6}), parameter("b", {6, 4})});
}

// The partition with another structure in the second matrix.
Partition with_second(const ParameterLayout& layout, const Partition& partition,
                      const Structure& structure) {
  auto tensors = partition.tensors();
  tensors[2].sections[0].structure = structure;
  return Partition(layout, "changed", std::move(tensors));
}

}  // namespace

TEST_CASE("Partitions: a partition agrees with itself, rows and columns less than by chance") {
  const auto layout = two_matrices();
  const auto rows = make_partition(layout, "per_row");
  const auto same = partition_agreement(layout, rows, rows);
  CHECK(same.sections == 2);
  CHECK(same.adjusted_rand == 1.0);
  CHECK(same.same_structure == 1.0);
  const auto columns = partition_agreement(layout, rows, make_partition(layout, "per_column"));
  CHECK(columns.adjusted_rand < 0.0);
  CHECK(columns.same_structure == 0.0);
}

TEST_CASE("Partitions: agreement is the mean over sections, and by labels, not by names") {
  const auto layout = two_matrices();
  const auto rows = make_partition(layout, "per_row");
  // Pairs of rows: of 276 pairs of elements rows hold 36, pairs of rows 84, which hold all those.
  const auto pairs =
      partition_agreement(layout, rows, with_second(layout, rows, Structure::tiles(2, 4)));
  const double chance = 36.0 * 84.0 / 276.0;
  const double rand = (36.0 - chance) / ((36.0 + 84.0) / 2.0 - chance);
  CHECK(pairs.adjusted_rand == Approx((1.0 + rand) / 2.0));
  CHECK(pairs.same_structure == 0.5);
  std::vector<std::int32_t> labels(24);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i / 4);
  const auto named =
      partition_agreement(layout, rows, with_second(layout, rows, Structure::from_labels(labels)));
  CHECK(named.adjusted_rand == 1.0);
  CHECK(named.same_structure == 1.0);
}

TEST_CASE("Partitions: a rank-one section agrees with no other kind") {
  const auto layout = two_matrices();
  const auto whole = make_partition(layout, "per_tensor");
  const auto factored =
      partition_agreement(layout, whole, with_second(layout, whole, Structure::factored(6)));
  CHECK(factored.adjusted_rand == 0.5);
  CHECK(factored.same_structure == 0.5);
}
