// Strict YAML: what a user can get wrong, and the sentence that it gives.
#include "experiments/config/config_yaml.hpp"

#include "core/base/error.hpp"
#include "experiments/config/config_text.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using blockwise::testing::Contains;

namespace {

const char* kRun = R"(name: demo
data:
  train: a.bin
  validation: b.bin
model:
  family: llama
  n_layer: 2
optimizer:
  rule: adam_mini
  learning_rate: 1.0e-3
  partition: {rule: adam_mini, query: factored}
trainer:
  steps: 10
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kRun;
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string error_of(const std::string& yaml) {
  try {
    YamlDocument::parse(yaml, "x.yaml").run_config();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("A run configuration is read with its defaults") {
  const auto config = YamlDocument::parse(kRun, "x.yaml").run_config();
  CHECK(config.name == "demo");
  CHECK(config.output == "runs/demo");
  CHECK(config.optimizer.learning_rate == 1e-3);
  CHECK(config.optimizer.partition.by_role.at(ParameterRole::query) == "factored");
  CHECK(config.schedule.name == "cosine");
  CHECK(config.trainer.keep_checkpoints == 2);
}

TEST_CASE("The resolved YAML reads back as the same configuration") {
  for (const auto* edit : {"rule: adam_mini", "rule: adamw", "rule: sgd_momentum"}) {
    auto text = with("  rule: adam_mini\n", std::string("  ") + edit + "\n");
    if (std::string(edit) != "rule: adam_mini") {
      const auto at = text.find("  partition:");
      text.erase(at, text.find('\n', at) + 1 - at);
    }
    const auto first = to_yaml(YamlDocument::parse(text, "x.yaml").run_config());
    const auto second = to_yaml(YamlDocument::parse(first, "y.yaml").run_config());
    CHECK(first == second);
  }
}

TEST_CASE("The hash follows the experiment, not its name, place or checkpoints") {
  const auto hash = [](const std::string& text) {
    return config_hash(YamlDocument::parse(text, "x.yaml").run_config());
  };
  CHECK(hash(kRun) == hash(with("name: demo", "name: other")));
  CHECK(hash(kRun) == hash(with("steps: 10", "steps: 10\n  threads: 1\n  checkpoint_every: 5")));
  CHECK(hash(kRun) != hash(with("1.0e-3", "2.0e-3")));
  CHECK(hash(kRun) != hash(with("steps: 10", "steps: 11")));
}

TEST_CASE("Each mistake is one sentence with its place") {
  CHECK(error_of(with("learning_rate", "learning_rat")) ==
        "x.yaml:10:3: optimizer.learning_rat: unknown key, did you mean 'learning_rate'?");
  CHECK(error_of(with("  n_layer: 2", "  n_layers: 2")) ==
        "x.yaml:7:3: model.n_layers: unknown key, did you mean 'n_layer'?");
  CHECK(error_of(with("steps: 10", "steps: ten")) ==
        "x.yaml:13:10: trainer.steps: 'ten' is not a whole number");
  CHECK(error_of(with("steps: 10", "steps: 0")) ==
        "x.yaml:13:10: trainer.steps: 0 is out of bounds, 1 to 1099511627776 are allowed");
  CHECK(error_of(with("steps: 10", "steps: 99999999999999999999")) ==
        "x.yaml:13:10: trainer.steps: '99999999999999999999' is out of bounds, 1 to 1099511627776 "
        "are allowed");
  CHECK(error_of(with("1.0e-3", "1e400")) ==
        "x.yaml:10:18: optimizer.learning_rate: '1e400' is beyond the numbers of 64 bits");
  CHECK(
      error_of(with("1.0e-3", "-1")) ==
      "x.yaml:10:18: optimizer.learning_rate: -1 is out of bounds, at least 0 and at most 1000 is "
      "allowed");
  CHECK(error_of(with("1.0e-3", ".nan")) ==
        "x.yaml:10:18: optimizer.learning_rate: '.nan' is not a number");
  CHECK(error_of(with("family: llama", "family: lama")) ==
        "x.yaml:6:11: model.family: 'lama' is none of gpt2, llama, mlp, quadratic, did you mean "
        "'llama'?");
  CHECK_THAT(error_of(with("query: factored", "query: facored")),
             Contains("did you mean 'factored'"));
  CHECK(error_of(with("steps: 10", "steps: 10\n  steps: 11")) ==
        "x.yaml:14:3: trainer.steps: this key stands here twice");
  CHECK(error_of(with("  n_layer: 2", "  n_layer:")) ==
        "x.yaml:7:3: model.n_layer: the key has no value");
  CHECK_THAT(error_of(with("  n_layer: 2", "  n_layer: [2]")),
             Contains("a list where a single value"));
  CHECK_THAT(error_of(with("model:\n  family: llama\n  n_layer: 2", "model: llama")),
             Contains("model: 'llama' is not a section"));
  CHECK_THAT(error_of(with("  n_layer: 2", "  n_layer: 2\n  n_head: 4\n  n_kv_head: 3")),
             Contains("x.yaml:9:14: model.n_kv_head: 3 does not divide n_head 4"));
  CHECK_THAT(error_of("name: [a"), Contains("x.yaml:1:1: not YAML: a list in [ ] is not closed"));
  CHECK_THAT(error_of("just text"), Contains("keys and values are expected"));
  CHECK_THAT(error_of(std::string(kRun) + "---\nname: b\n"), Contains("a second document"));
}

TEST_CASE("A partition belongs to rules that use one") {
  CHECK_THAT(error_of(with("rule: adam_mini\n", "rule: adamw\n")),
             Contains("optimizer.partition: unknown key"));
}

TEST_CASE("Overrides are checked like the file and named in errors") {
  auto document = YamlDocument::parse(kRun, "x.yaml");
  document.set("optimizer.learning_rate=5e-4");
  document.set("schedule.name=linear");  // the section is made
  const auto config = document.run_config();
  CHECK(config.optimizer.learning_rate == 5e-4);
  CHECK(config.schedule.name == "linear");

  document.set("trainer.steps=many");
  CHECK_THROWS_WITH(document.run_config(),
                    "--set trainer.steps=many: trainer.steps: 'many' is not a whole number");
  auto other = YamlDocument::parse(kRun, "x.yaml");
  other.set("model.n_laier=3");
  CHECK_THROWS_WITH(other.run_config(),
                    "--set model.n_laier=3: model.n_laier: unknown key, did you mean 'n_layer'?");
  CHECK_THROWS_AS(other.set("no-equals-sign"), InputError);
  CHECK_THROWS_WITH(other.set("name.x=1"), Contains("'name' is not a section"));
}

TEST_CASE("YAML bombs are refused before anything is built") {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    laughs += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n",
                          i, i - 1);
  }
  CHECK_THAT(error_of(laughs), Contains("more than 100000 nodes once aliases are expanded"));
  CHECK_THAT(error_of("a: " + std::string(200, '[') + std::string(200, ']')),
             Contains("nested deeper than 64 levels"));
  CHECK_THAT(error_of("name: " + std::string(2 << 20, 'x')), Contains("at most 1048576"));
  CHECK_THAT(error_of("a: &x [1, *x]"), Contains("an alias inside its own anchor"));
  CHECK_THAT(error_of("a: b: c"), Contains("x.yaml:1:5: not YAML: a ':' where none can stand"));
  CHECK_THAT(error_of("a: \"b"), Contains("not YAML: a quote is not closed"));
  // What is set is as little to be trusted as what is read.
  auto document = YamlDocument::parse(kRun, "x.yaml");
  CHECK_THROWS_WITH(document.set("model.hidden=&x [1, *x]"),
                    Contains("--set model.hidden=") && Contains("an alias inside its own anchor"));
  CHECK_THROWS_WITH(document.set(fmt::format("model.hidden={:[>100}{:]>100}", "", "")),
                    Contains("nested deeper than 64"));
  CHECK_THROWS_WITH(document.set("model.hidden=[1"),
                    Contains("--set model.hidden=[1: not YAML: a list in [ ] is not closed"));
}

TEST_CASE("A sweep is read and expanded") {
  const auto text = std::string(kRun) + R"(sweep:
  seeds: [1, 2]
  parameters:
    optimizer.learning_rate: {values: [1.0e-3, 2.0e-3]}
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
    - name: mini
      parameters:
        optimizer.beta2: {values: [0.95, 0.99]}
)";
  const auto members = expand(YamlDocument::parse(text, "x.yaml").sweep_config());
  REQUIRE(members.size() == 2 * 2 + 2 * 2 * 2);
  CHECK(members[0].id == "adamw-lr1.0e-3-s1");
  CHECK(members[0].overrides ==
        std::vector<std::pair<std::string, std::string>>{{"optimizer.rule", "adamw"},
                                                         {"optimizer.learning_rate", "1.0e-3"}});
  CHECK(members[1].seed == 2);
  CHECK(members.back().id == "mini-lr2.0e-3-beta20.99-s2");
}

TEST_CASE("Random sweeps draw inside their ranges, the same points every time") {
  const auto text = std::string(kRun) + R"(sweep:
  method: random
  run_cap: 50
  parameters:
    optimizer.learning_rate: {min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values}
    model.n_layer: {min: 1, max: 3}
)";
  const auto sweep = YamlDocument::parse(text, "x.yaml").sweep_config();
  CHECK(sweep.parameters[1].distribution == "int_uniform");
  const auto members = expand(sweep);
  REQUIRE(members.size() == 50);
  int below_geometric_middle = 0;
  for (const auto& member : members) {
    const double rate = std::stod(member.overrides[0].second);
    const int layers = std::stoi(member.overrides[1].second);
    CHECK((rate >= 1e-4 && rate <= 1e-1));
    CHECK((layers >= 1 && layers <= 3));
    below_geometric_middle += rate < 3.16e-3 ? 1 : 0;
  }
  // Half of a log-uniform draw is below the geometric middle: 25 of 50, standard deviation 3.5.
  CHECK((below_geometric_middle > 11 && below_geometric_middle < 39));
  CHECK(expand(sweep)[7].id == members[7].id);
}

TEST_CASE("A wrong sweep says what is wrong") {
  const auto error = [](const std::string& sweep) {
    try {
      YamlDocument::parse(std::string(kRun) + sweep, "x.yaml").sweep_config();
    } catch (const InputError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK_THAT(error("sweep: {methd: grid}"),
             Contains("x.yaml:14:9: sweep.methd: unknown key, did you mean"));
  CHECK_THAT(error("sweep: {method: bayes}"), Contains("'bayes' is none of grid, random"));
  CHECK_THAT(error("sweep: {method: random}"), Contains("needs run_cap"));
  CHECK_THAT(error("sweep: {seeds: 3}"), Contains("sweep.seeds: '3' where a list is expected"));
  CHECK_THAT(error("sweep: {parameters: {optimizer.eps: {min: 1, max: 0}}}"),
             Contains("min is not below max"));
  CHECK_THAT(error("sweep: {baseline: x, groups: [{name: a}]}"), Contains("'x' is none of a"));
  CHECK_THAT(error(""), Contains("there is no section 'sweep'"));
}

TEST_CASE("A clone's settings stay its own") {
  const auto original =
      YamlDocument::parse(blockwise::testing::small_run_yaml("nowhere", 12), "clone.yaml");
  auto first = original.clone();
  first.set("trainer.steps", "7", "test");
  first.set("trainer.activation_checkpointing", "true", "test");
  const auto second = original.clone();
  CHECK(first.run_config().trainer.steps == 7);
  for (const YamlDocument* untouched : {&original, &second}) {
    CHECK(untouched->run_config().trainer.steps == 12);
    CHECK_FALSE(untouched->run_config().trainer.activation_checkpointing);
  }
}
