// Partitions: every element belongs to exactly one block, whatever the rule and the model, and the
// number of blocks is the closed form.
#include "core/partition/partition.hpp"

#include "core/partition/partition_report.hpp"
#include "core/partition/partition_rules.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// The block of each element of a section, counted from 0.
std::vector<std::int64_t> block_numbers(const PartitionSection& s) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < s.rows; ++i) {
    for (std::int64_t j = 0; j < s.columns; ++j) {
      const auto at = static_cast<std::size_t>(i * s.columns + j);
      switch (s.structure.kind) {
        case Structure::Kind::elements:
          numbers.push_back(i * s.columns + j);
          break;
        case Structure::Kind::tiles:
        case Structure::Kind::none:
          numbers.push_back(i / s.structure.tile_rows * s.tile_grid_columns() +
                            j / s.structure.tile_columns);
          break;
        case Structure::Kind::factored:
          numbers.push_back(i / s.structure.tile_rows);
          break;
        case Structure::Kind::labels:
          numbers.push_back(s.structure.labels[at]);
          break;
      }
    }
  }
  return numbers;
}

void check_covers_once(const ParameterLayout& layout, const Partition& partition) {
  std::int64_t elements = 0, state = 0, blocks = 0;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    std::int64_t row = 0;
    for (const auto& section : partition.tensors()[i].sections) {
      CHECK(section.row_begin == row);
      CHECK(section.columns == layout.parameters()[i].columns());
      CHECK(section.state_offset == state);
      std::vector<int> used(static_cast<std::size_t>(section.block_count()), 0);
      for (const auto number : block_numbers(section)) ++used.at(static_cast<std::size_t>(number));
      CHECK(std::count(used.begin(), used.end(), 0) == 0);
      row += section.rows;
      state += section.state_size();
      blocks += section.block_count();
      elements += section.size();
    }
    CHECK(row == layout.parameters()[i].rows());
  }
  CHECK(elements == layout.size());
  CHECK(state == partition.state_size());
  CHECK(blocks == partition.block_count());
}

// [rows, columns] as one tensor.
ParameterLayout one_matrix(std::int64_t rows, std::int64_t columns) {
  Parameter block;
  block.name = "w";
  block.shape = {rows, columns};
  return ParameterLayout({block});
}

Partition of_sections(const ParameterLayout& layout, std::vector<PartitionSection> sections) {
  return Partition(layout, "by hand", {{std::move(sections)}});
}

PartitionSection section(std::int64_t begin, std::int64_t rows, std::int64_t columns,
                         Structure structure) {
  return {ParameterRole::other, "by hand", begin, rows, columns, std::move(structure), 0};
}

}  // namespace

TEST_CASE("Every rule covers every model, each element once") {
  for (const auto& model : small_models()) {
    const auto layout = model.spec()->layout();
    for (const auto& rule : partition_rules()) {
      // This one has no partition where head_dim is not n_embd / n_head in a way that fits.
      if (rule.name == "released_1_1_1" && model.name == "llama MQA, wide heads") continue;
      INFO(model.name << ", " << rule.name);
      check_covers_once(layout, make_partition(layout, rule.name));
    }
  }
}

TEST_CASE("Number of values by closed form") {
  const auto values = [](std::size_t model, const std::string& rule) {
    return make_partition(small_models()[model].spec()->layout(), rule).state_size();
  };
  const std::int64_t d = 8, f = 12, vocab = 11, positions = 6, layers = 2;
  // llama with 4 query and 2 key heads. Query: 4, key: 2, value: 4 rows, o: 8, gate and up: f each,
  // down: d, two gains of d elements.
  CHECK(values(4, "adam_mini") == 2 * vocab + layers * (4 + 2 + 4 + d + 2 * f + d + 2 * d) + d);
  // The package: gains whole; a head is d / 4 = 2 rows for query and key alike.
  CHECK(values(4, "released_1_1_1") == 2 * vocab + layers * (4 + 2 + 4 + d + 2 * f + d + 2) + 1);
  CHECK(values(4, "per_tensor") == 2 + layers * 9 + 1);
  CHECK(values(4, "per_element") == small_models()[4].spec()->layout().size());
  // Heads of rows for q, k, v and of columns for o.
  CHECK(values(4, "per_head") == 2 * vocab + layers * (4 + 2 + 2 + 4 + 2 * f + d + 2 * d) + d);
  CHECK(values(4, "head_by_column") ==
        2 * vocab + layers * ((4 + 2 + 2) * d + d + 2 * f + d + 2 * d) + d);
  // Rows and columns of every matrix; gains by element.
  CHECK(values(4, "factored") ==
        2 * (vocab + d) + layers * (2 * (d + d) + 2 * (4 + d) + 3 * (f + d) + 2 * d) + d);
  CHECK(values(4, "factored_per_head") ==
        2 * (vocab + d) + layers * ((d + 4 * d) + 2 * (4 + 2 * d) + (d + d) + 3 * (f + d) + 2 * d) +
            d);
  CHECK(values(4, "per_column") == 2 * d + layers * (4 * d + 2 * d + f + 2 * d) + d);
  // gpt2, tied, with biases; fused QKV by section: 2 + 2 heads and d rows.
  const std::int64_t biases = 3 * d + d + 4 * d + d + 2 * d;
  CHECK(values(0, "adam_mini") ==
        vocab + positions + layers * (2 + 2 + d + d + 4 * d + d + 2 * d + biases) + 2 * d);
  CHECK(values(0, "per_row") ==
        vocab + positions + layers * (3 * d + d + 4 * d + d + 2 * d + biases) + 2 * d);
  // The package: the position embedding, the fused QKV, the attention's projection and the gains
  // are each one block; biases have AdamW's.
  CHECK(values(0, "released_1_1_1") ==
        vocab + 1 + layers * (1 + 1 + 4 * d + d + 2 + biases) + 1 + d);
  // The package knows no name of an MLP: whole tensors, but biases by element.
  CHECK(values(7, "released_1_1_1") == 3 + 7 + 4 + 3);
}

TEST_CASE("A rule per role replaces the rule of those sections alone") {
  const auto layout = small_models()[0].spec()->layout();
  const auto partition =
      make_partition(layout, "adam_mini",
                     {{ParameterRole::query, "factored"}, {ParameterRole::norm, "per_tensor"}});
  check_covers_once(layout, partition);
  const auto& qkv =
      partition.tensors()[layout.index_of("transformer.h.0.attn.c_attn.weight")].sections;
  REQUIRE(qkv.size() == 3);
  CHECK(qkv[0].rule == "factored");
  CHECK(qkv[0].state_size() == 8 + 8);
  CHECK(qkv[1].rule == "adam_mini");
  CHECK(qkv[1].block_count() == 2);
  const auto& gain = partition.tensors()[layout.index_of("transformer.ln_f.weight")].sections;
  CHECK(gain.at(0).block_count() == 1);
  CHECK_THAT(partition.rule(), Contains("query: factored"));
}

TEST_CASE("A role rule inside a fused tensor that the main rule takes whole splits it") {
  const auto layout = small_models()[0].spec()->layout();
  const auto partition =
      make_partition(layout, "released_1_1_1", {{ParameterRole::value, "per_row"}});
  check_covers_once(layout, partition);
  const auto& qkv =
      partition.tensors()[layout.index_of("transformer.h.0.attn.c_attn.weight")].sections;
  REQUIRE(qkv.size() == 3);
  CHECK(qkv[0].block_count() == 1);
  CHECK(qkv[2].block_count() == 8);
}

TEST_CASE("A tensor that a rule does not cover is an error, never a fallback") {
  // dim * dim / n_head = 144 elements do not divide the 4 * 8 * 24 of the query.
  const auto wide = model_spec(
      "llama",
      {{"vocab_size", 11}, {"block_size", 6}, {"n_head", 4}, {"n_embd", 24}, {"head_dim", 8}});
  CHECK_THAT(input_error([&] { make_partition(wide->layout(), "released_1_1_1"); }),
             Contains("'model.layers.0.self_attn.q_proj.weight' has 32 rows, not a multiple of 6"));
  // A run of 2.5 rows is no tile.
  const auto odd = model_spec(
      "llama",
      {{"vocab_size", 11}, {"block_size", 6}, {"n_head", 8}, {"n_embd", 20}, {"head_dim", 10}});
  CHECK_THAT(input_error([&] { make_partition(odd->layout(), "released_1_1_1"); }),
             Contains("20 columns, not a multiple of 8 query heads"));

  Parameter query;
  query.name = "lonely.query";
  query.role = ParameterRole::query;
  query.shape = {4, 4};
  const ParameterLayout layout({query});
  CHECK_THAT(input_error([&] { make_partition(layout, "adam_mini"); }),
             Contains("'lonely.query' is a query without heads"));
  CHECK(make_partition(layout, "per_row").block_count() == 4);
  CHECK_THAT(input_error([&] { make_partition(layout, "per_rows"); }), Contains("'per_rows'"));
}

TEST_CASE("Sections leave no gap, do not overlap and stay inside") {
  const auto layout = one_matrix(6, 4);
  const auto tiles = Structure::tiles(1, 4);
  const auto text = [&](std::vector<PartitionSection> sections) {
    return input_error([&] { of_sections(layout, sections); });
  };
  CHECK(text({section(0, 2, 4, tiles), section(2, 4, 4, tiles)}) == "no error");
  CHECK_THAT(text({section(0, 2, 4, tiles), section(3, 3, 4, tiles)}),
             Contains("row 2 comes next"));
  CHECK_THAT(text({section(0, 4, 4, tiles), section(2, 4, 4, tiles)}),
             Contains("row 4 comes next"));
  CHECK_THAT(text({section(0, 5, 4, tiles)}), Contains("'w': 5 of its 6 rows"));
  CHECK_THAT(text({section(0, 7, 4, tiles)}), Contains("'w': 7 of its 6 rows"));
  CHECK_THAT(text({section(0, 6, 3, tiles)}), Contains("3 columns, the tensor has 4"));
  CHECK_THAT(text({section(0, 6, 4, Structure::tiles(0, 4))}), Contains("tiles of 0 x 4"));
  CHECK_THAT(text({}), Contains("0 of its 6 rows"));
  CHECK_THAT(input_error([&] { Partition(layout, "none", {}); }), Contains("0 tensors"));
}

TEST_CASE("Labels name every element, without a gap in the numbers") {
  const auto layout = one_matrix(2, 3);
  const auto text = [&](const std::vector<std::int32_t>& labels) {
    return input_error(
        [&] { of_sections(layout, {section(0, 2, 3, Structure::from_labels(labels))}); });
  };
  CHECK(text({0, 1, 1, 0, 2, 2}) == "no error");
  CHECK_THAT(text({0, 1, 1, 0, 2}), Contains("'w': 5 labels for 6 elements"));
  CHECK_THAT(text({0, 3, 1, 0, 1, 1}), Contains("no element has label 2"));
  CHECK_THAT(text({0, -1, 1, 0, 1, 1}), Contains("label -1 is outside [0, 2)"));
  auto structure = Structure::from_labels({0, 1, 1, 0, 2, 2});
  structure.label_count = 2;
  CHECK_THAT(input_error([&] { of_sections(layout, {section(0, 2, 3, structure)}); }),
             Contains("label 2 is outside [0, 2)"));
}

TEST_CASE("Ragged tiles count their remainders") {
  const auto layout = one_matrix(7, 5);
  const auto partition = of_sections(layout, {section(0, 7, 5, Structure::tiles(3, 2))});
  CHECK(partition.block_count() == 3 * 3);
  check_covers_once(layout, partition);
  const auto factored = of_sections(layout, {section(0, 7, 5, Structure::factored(3))});
  CHECK(factored.state_size() == 7 + 3 * 5);
  check_covers_once(layout, factored);
}

TEST_CASE("The report names tensor, role, rule, blocks and the share of AdamW's values") {
  const auto layout = small_models()[4].spec()->layout();
  const auto partition = make_partition(layout, "adam_mini", {{ParameterRole::key, "factored"}});
  const auto report = partition_table(layout, partition);
  CHECK(std::count(report.begin(), report.end(), '\n') ==
        static_cast<std::ptrdiff_t>(layout.parameters().size()) + 2);
  CHECK_THAT(report, Contains("model.layers.0.self_attn.q_proj.weight"));
  CHECK_THAT(report, Contains("factored"));
  CHECK_THAT(report, Contains("2 x 8"));  // a query head: 2 rows of 8
  CHECK_THAT(report,
             Contains(fmt::format("{} parameters in {} blocks; second moment: {} values",
                                  layout.size(), partition.block_count(), partition.state_size())));
}
