// Sizes that come from files: right where they fit, refused where they would wrap around.
#include "core/base/checked_math.hpp"
#include "core/parameters/parameter_layout.hpp"
#include "core/partition/partition.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

constexpr auto kMost = std::numeric_limits<std::int64_t>::max();

Parameter matrix(std::vector<std::int64_t> shape, char name = 'w') {
  Parameter parameter;
  parameter.name.assign(1, name);
  parameter.shape = std::move(shape);
  return parameter;
}

}  // namespace

TEST_CASE("Division rounds up without a sum that overflows") {
  CHECK(ceil_divide(0, 3) == 0);
  CHECK(ceil_divide(6, 3) == 2);
  CHECK(ceil_divide(7, 3) == 3);
  CHECK(ceil_divide(7, kMost) == 1);
  CHECK(ceil_divide(kMost, kMost - 1) == 2);
  CHECK(ceil_divide(kMost, 1) == kMost);
}

TEST_CASE("Products and sums of sizes are right or refused") {
  CHECK(checked_product("size", {3, 0, 5}) == 0);
  CHECK(checked_product("size", {}) == 1);
  CHECK(checked_product("size", {kMost, 1}) == kMost);
  CHECK(checked_product("size", {3, 5}, 15) == 15);
  CHECK_THAT(input_error([] {
               checked_product("size", {3, 5}, 14);
             }),
             Contains("size: 3 x 5 is above 14"));
  CHECK_THAT(input_error([] {
               checked_product("size", {1LL << 32, 1LL << 31});
             }),
             Contains("4294967296 x 2147483648 is above 9223372036854775807"));
  CHECK_THAT(input_error([] { checked_product("size", {3, -5}); }), Contains("-5 is below 0"));
  CHECK(checked_sum("rows", kMost, 0) == kMost);
  CHECK(checked_sum("rows", 3, 4, 7) == 7);
  CHECK_THAT(input_error([] { checked_sum("rows", 3, 5, 7); }), Contains("rows: 3 + 5"));
  CHECK_THAT(input_error([] { checked_sum("rows", kMost, 1); }), Contains("outside of 0 to"));
  CHECK_THAT(input_error([] { checked_sum("rows", -1, 1); }), Contains("outside of 0 to"));
}

TEST_CASE("A layout of sizes that overflow is refused by name") {
  // 2^32 x 2^32 wraps around to 0.
  CHECK_THAT(input_error([] {
               ParameterLayout({matrix({1LL << 32, 1LL << 32})});
             }),
             Contains("elements of parameter 'w': 4294967296 x 4294967296 is above"));
  CHECK_THAT(input_error([] {
               ParameterLayout({matrix({1LL << 47}), matrix({1LL << 47}, 'v'), matrix({1}, 'u')});
             }),
             Contains("parameters of the model"));
  // 2^63 + 8 heads x rows that would wrap around to 8.
  auto heads = matrix({8, 4});
  heads.heads = {1LL << 62, 4, Heads::Axis::rows, 1};
  CHECK_THAT(input_error([&] { ParameterLayout({heads}); }), Contains("do not fill an axis"));
  auto fused = matrix({8, 4});
  fused.sections = {{ParameterRole::query, kMost, {}}, {ParameterRole::key, kMost, {}}};
  CHECK_THAT(input_error([&] { ParameterLayout({fused}); }), Contains("fused sections"));
}

TEST_CASE("Tiles beyond their section are the section") {
  const ParameterLayout layout({matrix({6, 4})});
  const auto of = [&](const Structure& structure) {
    TensorPartition tensor{{{ParameterRole::other, "by hand", 0, 6, 4, structure}}};
    return Partition(layout, "by hand", {tensor});
  };
  const auto rows = of(Structure::tiles(kMost, 1));
  CHECK(rows.state_size() == 4);
  CHECK(rows.block_count() == 4);
  CHECK(rows.tensors()[0].sections[0].structure.tile_rows == 6);
  CHECK(of(Structure::tiles(kMost, kMost)).state_size() == 1);
  CHECK(of(Structure::none(1, kMost)).block_count() == 6);
  CHECK(of(Structure::factored(kMost)).state_size() == 6 + 4);
}

TEST_CASE("Sections and labels beyond their tensor are refused before anything is made of them") {
  const ParameterLayout layout({matrix({6, 4})});
  const auto text = [&](std::int64_t rows, const Structure& structure) {
    TensorPartition tensor{{{ParameterRole::other, "by hand", 0, rows, 4, structure}}};
    return input_error([&] { Partition(layout, "by hand", {tensor}); });
  };
  CHECK_THAT(text(kMost, Structure::per_element()), Contains("9223372036854775807 of its 6 rows"));
  std::vector<std::int32_t> labels(24, 0);
  labels.back() = std::numeric_limits<std::int32_t>::max();
  CHECK_THAT(text(6, Structure::from_labels(labels)),
             Contains("the largest label is 2147483647, of 24 elements"));
  CHECK_THAT(text(6, Structure::from_labels(std::vector<std::int32_t>(24, -7))),
             Contains("the largest label is -7"));
}
