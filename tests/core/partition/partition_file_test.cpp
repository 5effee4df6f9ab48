// Partition files: written, read, and refused.
#include <fmt/format.h>

#include <fstream>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/partition/partition_file.hpp"
#include "core/partition/partition_rules.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

bool same(const Structure& a, const Structure& b) {
  return a.kind == b.kind && a.tile_rows == b.tile_rows && a.tile_columns == b.tile_columns &&
         a.labels == b.labels && a.label_count == b.label_count;
}

bool same(const Partition& a, const Partition& b) {
  if (a.tensors().size() != b.tensors().size()) return false;
  for (std::size_t t = 0; t < a.tensors().size(); ++t) {
    const auto& x = a.tensors()[t].sections;
    const auto& y = b.tensors()[t].sections;
    if (x.size() != y.size()) return false;
    for (std::size_t s = 0; s < x.size(); ++s) {
      const bool equal = x[s].role == y[s].role && x[s].row_begin == y[s].row_begin &&
                         x[s].rows == y[s].rows && x[s].rule == y[s].rule &&
                         x[s].merged == y[s].merged && same(x[s].structure, y[s].structure);
      if (!equal) return false;
    }
  }
  return a.state_size() == b.state_size();
}

// Every structure: labels on the first matrix, rules elsewhere.
Partition mixed(const ParameterLayout& layout) {
  auto tensors = make_partition(layout, "adam_mini",
                                {{ParameterRole::value, "factored_per_head"},
                                 {ParameterRole::mlp_in, "per_column"}})
                     .tensors();
  auto& first = tensors[0].sections[0];
  std::vector<std::int32_t> labels(static_cast<std::size_t>(first.size()));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i / 5 % 3);
  first.structure = Structure::from_labels(labels);
  tensors.back().sections.back().structure = Structure::none(2, 3);
  return Partition(layout, "mixed", std::move(tensors));
}

struct Written {
  TemporaryFolder folder;
  ParameterLayout layout = small_models()[0].spec()->layout();
  PartitionFile file;
  std::string text;

  Written() {
    file.partition = mixed(layout);
    file.provenance = {{"objective", "energy"}, {"remark", "it's quoted: yes"}};
    file.evidence.resize(layout.parameters().size());
    file.evidence[0] = {{{"lift", 0.25}, {"lift_error", 0.125}}};
    text = partition_text(layout, file);
  }
  PartitionFile read(const std::string& content) const {
    write_file_atomically(folder / "partition.yaml", content);
    return read_partition(folder / "partition.yaml", layout);
  }
  // The text with a change, which is not by accident.
  std::string changed(const std::string& from, const std::string& to) const {
    auto copy = text;
    const auto at = copy.find(from);
    REQUIRE(at != std::string::npos);
    return copy.replace(at, from.size(), to);
  }
};

}  // namespace

// What somebody called a rule or a number of evidence must be read where it was written.
TEST_CASE("Partition files: names with the signs of YAML come back as they are") {
  const auto layout = small_models()[0].spec()->layout();
  const TemporaryFolder folder;
  for (const std::string rule : {"by hand, twice", "a: b", "it's", "}", "#1", "null", "- x", "7"}) {
    INFO(rule);
    auto tensors = make_partition(layout, "adam_mini", {}).tensors();
    tensors[0].sections[0].rule = rule;
    PartitionFile file{Partition(layout, "mixed", std::move(tensors)), {{rule, rule}}, {}};
    write_file_atomically(folder / "a.yaml", partition_text(layout, file));
    const auto read = read_partition(folder / "a.yaml", layout);
    CHECK(read.partition.tensors()[0].sections[0].rule == rule);
  }
}

TEST_CASE("A partition file is read as it was written") {
  const Written w;
  const auto read = w.read(w.text);
  CHECK(same(read.partition, w.file.partition));
  CHECK(read.provenance == w.file.provenance);
  CHECK(read.evidence[0] == w.file.evidence[0]);
  CHECK(read.hash == partition_hash(w.layout, w.file.partition));
  CHECK(partition_text(w.layout, w.file) == w.text);
}

TEST_CASE("Every rule goes through a file") {
  const TemporaryFolder folder;
  for (const auto& small : small_models()) {
    const auto layout = small.spec()->layout();
    for (const auto& rule : partition_rule_names()) {
      if (rule == "released_1_1_1" && small.family != "gpt2") continue;
      INFO(small.name << " " << rule);
      PartitionFile file;
      file.partition = make_partition(layout, rule);
      write_file_atomically(folder / "p.yaml", partition_text(layout, file));
      CHECK(same(read_partition(folder / "p.yaml", layout).partition, file.partition));
    }
  }
}

TEST_CASE("A partition file that does not fit is one sentence with the tensor") {
  const Written w;
  CHECK_THROWS_WITH(read_partition(w.folder / "nothing.yaml", w.layout),
                    Contains("nothing.yaml: No such file"));
  CHECK_THROWS_WITH(w.read("steps: 3\n"), Contains("not a partition file"));
  CHECK_THROWS_WITH(w.read(w.changed("version: 2", "version: 7")),
                    Contains("version 7, this program reads 1 to 2"));
  const auto other = small_models()[3].spec()->layout();
  CHECK_THROWS_WITH(read_partition(w.folder / "partition.yaml", other),
                    Contains("version 7"));  // still the last one that was written
  (void)w.read(w.text);
  CHECK_THROWS_WITH(
      read_partition(w.folder / "partition.yaml", other),
      Contains(
          "the model has no tensor 'transformer.wte.weight': a partition file of another model"));
  // A fused tensor: rows 0..8 query, 8..16 key, 16..24 value.
  CHECK_THROWS_WITH(w.read(w.changed("rows: [8, 16]", "rows: [4, 16]")),
                    Contains("tensor 'transformer.h.0.attn.c_attn.weight': rows [4, 16] overlap") &&
                        Contains("partition.yaml:"));
  CHECK_THROWS_WITH(w.read(w.changed("rows: [8, 16]", "rows: [9, 16]")),
                    Contains("rows [9, 16] leave a gap, 8 is next"));
  CHECK_THROWS_WITH(w.read(w.changed("rows: [16, 24]", "rows: [16, 25]")),
                    Contains("rows [16, 25] of 24"));
  CHECK_THROWS_WITH(
      w.read(w.changed("name: 'transformer.wpe.weight'", "name: 'transformer.wte.weight'")),
      Contains("tensor 'transformer.wte.weight' is there twice"));
  CHECK_THROWS_WITH(w.read(w.changed("shape: [6, 8]", "shape: [6, 9]")),
                    Contains("tensor 'transformer.wpe.weight' has the shape [6, 9]"));
  CHECK_THROWS_WITH(w.read(w.changed("labels: \"0*5", "labels: \"0*4")),
                    Contains("'transformer.wte.weight': 87 labels for 88 elements"));
  CHECK_THROWS_WITH(w.read(w.changed("labels: \"0*5", "labels: \"0+5")),
                    Contains("is not NUMBER*REPETITIONS"));
  CHECK_THROWS_WITH(w.read(w.changed("structure: tiles", "structure: stripes")),
                    Contains("'stripes' is none of elements, tiles, factored, labels, none"));
  CHECK_THROWS_WITH(w.read(w.changed("structure: tiles", "merged: -3, structure: tiles")),
                    Contains("partition.yaml:") && Contains("merged: -3 is out of bounds, 0 to"));
  // Valid, but not what the hash says; without the line it is taken.
  const auto edited = w.changed("tile: [1, 8]", "tile: [2, 8]");
  CHECK_THROWS_WITH(w.read(edited), Contains("drop the line 'hash'"));
  const auto hash = edited.find("hash: ");
  auto free = edited;
  free.erase(hash, free.find('\n', hash) + 1 - hash);
  CHECK_NOTHROW(w.read(free));
  // A tensor that is missing.
  auto shorter = free;
  const auto last = shorter.rfind("  - name:");
  const auto name = w.layout.parameters().back().name;
  shorter.erase(last);
  CHECK_THROWS_WITH(w.read(shorter), Contains("tensor '" + name + "' of the model is missing"));
}

TEST_CASE("A number out of its bounds in a partition file is one sentence with line and key") {
  const Written w;
  const auto refused = [&](const std::string& from, const std::string& to) {
    return input_error([&] { w.read(w.changed(from, to)); });
  };
  // Its rounded-up division would overflow, and the section would get too few values.
  CHECK_THAT(refused("tile: [1, 8]", "tile: [9223372036854775807, 1]"),
             Contains("partition.yaml:") &&
                 Contains("tile: 9223372036854775807 is out of bounds, 1 to 2147483647"));
  CHECK_THAT(refused("tile: [1, 8]", "tile: [0, 8]"), Contains("tile: 0 is out of bounds"));
  CHECK_THAT(refused("tile: [1, 8]", "tile: [1, 99999999999999999999]"),
             Contains("tile: '99999999999999999999' is not a whole number"));
  CHECK_THAT(refused("tile: [1, 8]", "tile: [1]"), Contains("'tile' is to be a list of 2 numbers"));
  CHECK_THAT(refused("tile: [1, 8]", "tile: 8"), Contains("'tile' is to be a list"));
  CHECK_THAT(refused("group: 4", "group: -4"), Contains("group: -4 is out of bounds"));
  CHECK_THAT(refused("rows: [8, 16]", "rows: [8, 9223372036854775807]"), Contains("of 24"));
  CHECK_THAT(refused("rows: [8, 16]", "rows: [8, -16]"), Contains("rows [8, -16] of 24"));
  // 8 GiB of labels for 88 elements.
  CHECK_THAT(refused("labels: \"0*5", "labels: \"0*2147483647"),
             Contains("'transformer.wte.weight': more labels than its 88 elements"));
  CHECK_THAT(refused("labels: \"0*5", "labels: \"0*9223372036854775807"),
             Contains("more labels than its 88 elements"));
  CHECK_THAT(refused("labels: \"0*5", "labels: \"88*5"), Contains("label 88 of 88 elements"));
  CHECK_THAT(refused("labels: \"0*5", "labels: \"-1*5"), Contains("label -1 of 88 elements"));
  CHECK_THAT(refused("lift: 0.25", "lift: much"),
             Contains("evidence.lift: 'much' is not a number"));
  CHECK_THAT(refused("parameters: ", "parameters: 1"),
             Contains("a model with 1") && Contains("parameters, this one has"));
}

TEST_CASE("A partition file of another build than expected is one sentence with its line") {
  const Written w;
  const auto text = [&](const std::string& content) {
    return input_error([&] { w.read(content); });
  };
  const auto head = w.text.substr(0, w.text.find("tensors:\n"));
  CHECK_THAT(text(head + "tensors: 3\n"), Contains("'tensors' is to be a list"));
  CHECK_THAT(text(head + "tensors: [1, 2]\n"), Contains("'name' is missing"));
  CHECK_THAT(text(head + "tensors:\n  - {name: [a]}\n"),
             Contains("'name' is to be a single value"));
  CHECK_THAT(text(w.changed("sections:", "sections: {}\n    parts:")),
             Contains("unknown key 'parts'"));
  CHECK_THAT(text(w.changed("role: query,", "role: query, role: query,")),
             Contains("the key 'role' is there twice"));
  CHECK_THAT(text(w.changed("structure: tiles", "structure: [tiles]")),
             Contains("'structure' is to be a single value"));
  CHECK_THAT(text(w.changed("objective: 'energy'", "objective: [energy]")),
             Contains("'provenance' is to have single values"));
  CHECK_THAT(text("hidden: [1, 2\n"), Contains("not YAML: a list in [ ] is not closed"));
  CHECK_THAT(text(""), Contains("partition.yaml:1: not a partition file"));
  CHECK_THAT(text(head + "tensors: " + std::string(17, '[') + std::string(17, ']') + "\n"),
             Contains("nested deeper than 16 levels"));
  std::string many = head + "tensors: [";
  for (int i = 0; i < 200'000; ++i) many += "0,";
  CHECK_THAT(text(many + "0]\n"), Contains("nodes once aliases are expanded"));
}

TEST_CASE("The hash covers the roles, and roles are the model's") {
  const Written w;
  auto tensors = w.file.partition.tensors();
  const auto fused = w.layout.index_of("transformer.h.0.attn.c_attn.weight");
  for (auto& section : tensors[fused].sections) section.role = ParameterRole::other;
  const Partition other(w.layout, "other roles", tensors);
  CHECK(partition_hash(w.layout, other) != partition_hash(w.layout, w.file.partition));
  CHECK(partition_hash_without_roles(w.layout, other) ==
        partition_hash_without_roles(w.layout, w.file.partition));
  const auto as_value = input_error([&] { w.read(w.changed("role: query", "role: value")); });
  CHECK_THAT(as_value, Contains("the role of rows [0, 8] is 'value', in the model it is "
                                "other or query"));
  // Of the whole tensor: what a rule that does not split fused tensors says. Not what was hashed.
  CHECK_THAT(input_error([&] { w.read(w.changed("role: query", "role: other")); }),
             Contains("its content is not what its hash says"));
  CHECK_THAT(input_error([&] { w.read(w.changed("role: query", "role: querry")); }),
             Contains("'querry', in the model it is other or query"));
}

TEST_CASE("Partition files of version 1 still open, with the hash that they have") {
  const Written w;
  const auto hash = partition_hash(w.layout, w.file.partition);
  const auto old_hash = partition_hash_without_roles(w.layout, w.file.partition);
  CHECK(hash != old_hash);
  auto old = w.changed("version: 2", "version: 1");
  CHECK_THAT(input_error([&] { w.read(old); }), Contains("not what its hash says"));
  old.replace(old.find(hash), hash.size(), old_hash);
  const auto read = w.read(old);
  CHECK(same(read.partition, w.file.partition));
  CHECK(read.hash == hash);  // what other files will name it by
  // Their hash does not see a changed role; the model does.
  auto changed = old;
  changed.replace(changed.find("role: query"), 11, "role: value");
  CHECK_THAT(input_error([&] { w.read(changed); }), Contains("in the model it is other or query"));
}
