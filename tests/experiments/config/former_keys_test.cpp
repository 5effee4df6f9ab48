// Keys of `hessian` that have moved: what was written before reads as what is written now.
#include "experiments/config/former_keys.hpp"

#include <fmt/format.h>

#include <map>

#include "core/base/error.hpp"
#include "experiments/config/config_lines.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

const std::string kRest = R"(name: keys
data: {kind: gaussian_classes, features: 4, classes: 3, examples: 64, validation_examples: 16}
model: {family: mlp, inputs: 4, classes: 3, hidden: [5]}
optimizer: {rule: adamw, learning_rate: 1.0e-2}
trainer: {steps: 2, micro_batch_size: 8, global_batch_tokens: 8, threads: 1}
)";

YamlDocument document_of(const std::string& hessian) {
  return YamlDocument::parse(kRest + hessian, "x.yaml");
}

// A value that is not the default, for every key that has moved.
const std::map<std::string, std::string>& other_values() {
  static const std::map<std::string, std::string> values = {{"each", "tensor"},
                                                            {"names", "['*']"},
                                                            {"roles", "[other]"},
                                                            {"layers", "[1]"},
                                                            {"index", "[2]"},
                                                            {"lanczos_steps", "7"},
                                                            {"probes", "3"},
                                                            {"reorthogonalisation", "selective"},
                                                            {"eigenpairs", "4"},
                                                            {"save_every", "9"},
                                                            {"lockstep", "2"},
                                                            {"eigensolver", "spectra"},
                                                            {"eigen_basis", "31"},
                                                            {"eigen_products", "99"},
                                                            {"eigen_tolerance", "0.5"},
                                                            {"vectors", "1"},
                                                            {"functions", "[absolute]"},
                                                            {"damping", "0.25"},
                                                            {"function_error", "0.5"},
                                                            {"trace_products", "8"},
                                                            {"trace_method", "xtrace"},
                                                            {"trace_error", "0.5"},
                                                            {"diagonal_products", "6"},
                                                            {"diagonal_error", "0.5"},
                                                            {"coupling_products", "5"},
                                                            {"partitions", "[per_row]"},
                                                            {"code_vectors", "6"},
                                                            {"codes", "3"}};
  return values;
}

std::string name_of(const FormerKey& key) { return std::string(key.former.substr(8)); }

}  // namespace

TEST_CASE("Former keys: each is the key that it is now, in files, in flags and to the hash") {
  std::size_t moved = 0;
  for (const auto& key : hessian_keys()) {
    if (key.former == key.now) continue;
    INFO(key.former);
    ++moved;
    const auto& value = other_values().at(name_of(key));
    const auto in_file = document_of(fmt::format("hessian: {{{}: {}}}\n", name_of(key), value));
    auto former = document_of(""), now = document_of("");
    former.set(std::string(key.former), value, "--set");
    now.set(std::string(key.now), value, "--set");
    const auto expected = now.run_config();
    CHECK(to_yaml(in_file.run_config()) == to_yaml(expected));
    CHECK(to_yaml(former.run_config()) == to_yaml(expected));
    CHECK(to_yaml(expected) != to_yaml(document_of("").run_config()));
    CHECK(config_hash(former.run_config()) == config_hash(expected));
    CHECK(now.moved_note().empty());
    CHECK(in_file.moved_note() ==
          fmt::format("x.yaml:6:{}: {} is now {}", 13 + name_of(key).size(), key.former, key.now));
  }
  CHECK(moved == other_values().size());
}

// Hashes are made of the text as it was; everything else sees the keys of now.
TEST_CASE(
    "Former keys: a text of any version has the keys of now, and that of before for its hash") {
  const auto config = document_of(
                          "hessian: {parts: {each: tensor}, lanczos: {steps: 5}, "
                          "spectral: {functions: [absolute]}}\n")
                          .run_config();
  const ConfigLines now(to_yaml(config));
  const ConfigLines before(now.former_yaml());
  for (const auto* lines : {&now, &before}) {
    CHECK(lines->value("hessian.lanczos.steps") == "5");
    CHECK(lines->value("hessian.parts.each") == "tensor");
    CHECK(lines->value("hessian.lanczos_steps").empty());
    CHECK(lines->former_yaml() == now.former_yaml());
    const auto back = YamlDocument::parse(lines->yaml(), "run.h5").run_config();
    CHECK(to_yaml(back) == to_yaml(config));
  }
  const auto flat = now.former_yaml();
  std::size_t place = flat.find("\nhessian:\n");
  for (const auto& key : hessian_keys()) {
    INFO(key.former);
    const auto next = flat.find(fmt::format("\n  {}: ", key.former.substr(8)), place);
    REQUIRE(next != std::string::npos);
    place = next;
  }
}

TEST_CASE("Former keys: a section of another name is the same section, in every place") {
  const auto expected = document_of("hessian: {parts: {each: row, index: [3]}}\n");
  auto in_file = document_of("hessian: {blocks: {each: row, index: [3]}}\n");
  auto by_key = document_of(""), whole = document_of("hessian: {parts: {each: head}}\n");
  by_key.set("hessian.blocks.each=row");
  by_key.set("hessian.blocks.index=[3]");
  whole.set("hessian.blocks={each: row, index: [3]}");
  for (const auto* document : {&in_file, &by_key, &whole}) {
    CHECK(to_yaml(document->run_config()) == to_yaml(expected.run_config()));
    CHECK_THAT(document->moved_note(), Contains("is now hessian.parts"));
  }
  const auto yaml = to_yaml(expected.run_config());
  auto before = yaml;
  before.replace(before.find("  parts:"), 8, "  blocks:");
  CHECK(ConfigLines(before).former_yaml() == ConfigLines(yaml).former_yaml());
  CHECK(ConfigLines(before).value("hessian.parts.each") == "row");
  CHECK_THAT(input_error([] { document_of("hessian: {blocks: {each: row}, parts: {}}\n"); }),
             Contains("x.yaml:6:19: hessian.blocks is now hessian.parts, which is there, too"));
}

TEST_CASE("Former keys: both names in one file, and what is wrong with a value, have their place") {
  CHECK_THAT(input_error([] { document_of("hessian: {lanczos_steps: 3, lanczos: {steps: 4}}\n"); }),
             Contains("x.yaml:6:26: hessian.lanczos_steps is now hessian.lanczos.steps, which is "
                      "there, too"));
  CHECK_THAT(input_error([] { document_of("hessian: {probes: 3, lanczos: 4}\n"); }),
             Contains("hessian.lanczos is not a section"));
  CHECK_THAT(input_error([] { document_of("hessian: {lanczos_steps: -3}\n").run_config(); }),
             Contains("x.yaml:6:26: hessian.lanczos.steps: -3 is out of bounds"));
  CHECK_THAT(input_error([] {
               auto document = document_of("");
               document.set("hessian.probes=none");
               document.run_config();
             }),
             Contains("--set hessian.probes=none: hessian.lanczos.probes: 'none' is not a whole"));
  CHECK_THAT(input_error([] { document_of("hessian: {lanczos_stepz: 3}\n").run_config(); }),
             Contains("hessian.lanczos_stepz: unknown key"));
}

TEST_CASE("Former keys: a flag of either name wins over a file of the other") {
  auto document = document_of("hessian: {lanczos_steps: 3, lanczos: {probes: 2}}\n");
  document.set("hessian.lanczos.steps=4");
  document.set("hessian.probes=5");
  const auto config = document.run_config();
  CHECK(config.hessian.lanczos.steps == 4);
  CHECK(config.hessian.lanczos.probes == 5);
}

TEST_CASE("Former keys: a note names three and counts the rest") {
  const auto document = document_of(
      "hessian: {lanczos_steps: 3, probes: 2, each: tensor, codes: 3, trace_products: 4}\n");
  CHECK_THAT(document.moved_note(), Contains("hessian.each is now hessian.parts.each; ") &&
                                        Contains("; and 2 more, see `blockwise list hessian`"));
  CHECK(document_of("hessian: {lanczos: {steps: 3}}\n").moved_note().empty());
}
