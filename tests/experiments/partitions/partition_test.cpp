// The verb `partition`, and training with what it writes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/partition/partition_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

struct Prepared : SmallRunFolder {
  Prepared() : SmallRunFolder(6) {}
  std::vector<std::string> discovery(const std::vector<std::string>& settings) const {
    std::vector<std::string> arguments = {"partition", "--output", (folder / "found").string(),
                                          "--set", "discovery.vectors=3"};
    for (const auto& setting : settings) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    return arguments;
  }
  ProgramResult discover(const std::vector<std::string>& settings) const {
    return run(discovery(settings));
  }
  std::string file() const { return (folder / "found/partition.yaml").string(); }
};

// The candidates chosen for the sections of a role.
std::vector<std::string> chosen(const std::string& path, const ParameterLayout& layout,
                                ParameterRole role) {
  std::vector<std::string> names;
  const auto file = read_partition(path, layout);
  for (const auto& tensor : file.partition.tensors()) {
    for (const auto& section : tensor.sections) {
      if (section.role == role) names.push_back(section.rule);
    }
  }
  return names;
}

// A line of scores.csv by column, keyed "tensor candidate".
using Scores = std::map<std::string, std::map<std::string, std::string>>;

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) out.push_back(cell);
  return out;
}

Scores scores(const fs::path& path) {
  std::istringstream file(read_text_file(path));
  std::string line;
  std::getline(file, line);
  const auto names = cells(line);
  Scores all;
  while (std::getline(file, line)) {
    const auto values = cells(line);
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < values.size(); ++i) row[names[i]] = values[i];
    all[row["tensor"] + " " + row["candidate"]] = row;
  }
  return all;
}

}  // namespace

TEST_CASE("partition: identical seeds give identical files, and a run takes them") {
  const Prepared p;
  const auto first = p.discover({"discovery.objective=homogeneity"});
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("products with the Hessian") && Contains("slim_adam") &&
                               Contains("optimizer.partition.file="));
  const auto text = read_text_file(p.file());
  fs::remove_all(p.folder / "found");
  REQUIRE(p.discover({"discovery.objective=homogeneity"}).exit_code == 0);
  CHECK(read_text_file(p.file()) == text);
  CHECK(!fs::exists(p.folder / "found/probes.h5"));
  const auto trained = p.run({"train", "--set", "optimizer.rule=adam_mini", "--set",
                              "optimizer.partition.file=" + p.file()});
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  const auto document = YamlDocument::load(p.folder / "run.yaml");
  const auto layout = resolve(document.run_config()).layout;
  const auto values = read_partition(p.file(), layout).partition.state_size();
  const auto run = read_run(p.folder / "run/run.h5");
  CHECK(run.steps.size() == 6);
  const auto file = Hdf5File::open_for_reading(p.folder / "run/run.h5");
  std::int64_t recorded = 0;
  for (const auto n : file.integer_column("/partition/state_elements")) recorded += n;
  CHECK(recorded == values);
  // A changed file is another configuration: the finished run is not taken for it.
  auto changed = text;
  changed.erase(changed.find("hash: "),
                changed.find('\n', changed.find("hash: ")) + 1 - changed.find("hash: "));
  write_file_atomically(p.file(), changed);
  const auto again = p.run({"train", "--set", "optimizer.rule=adam_mini", "--set",
                            "optimizer.partition.file=" + p.file()});
  CHECK(again.exit_code == 2);
}

// Its losses are those of second moments alone.
TEST_CASE("partition: homogeneity chooses the same without products") {
  const Prepared p;
  const auto layout = resolve(YamlDocument::load(p.config).run_config()).layout;
  const auto choices = [&](const std::string& vectors) {
    fs::remove_all(p.folder / "found");
    const auto found =
        p.discover({"discovery.objective=homogeneity", "discovery.vectors=" + vectors});
    INFO(found.errors);
    REQUIRE(found.exit_code == 0);
    const auto rows = scores(p.folder / "found/scores.csv");
    CHECK(std::ranges::any_of(rows, [](const auto& row) {
            return !row.second.at("lift").empty();
          }) == (vectors != "0"));
    std::vector<std::string> rules;
    const auto file = read_partition(p.file(), layout);
    for (const auto& tensor : file.partition.tensors()) {
      for (const auto& section : tensor.sections) rules.push_back(section.rule);
    }
    return rules;
  };
  CHECK(choices("0") == choices("3"));
}

TEST_CASE("partition: what is chosen by products needs vectors") {
  const Prepared p;
  for (const auto& settings :
       {std::vector<std::string>{"discovery.objective=energy", "discovery.vectors=0"},
        {"discovery.objective=loss", "optimizer.rule=adam_mini", "discovery.vectors=0"},
        {"discovery.objective=homogeneity", "discovery.merge=true", "discovery.vectors=0"},
        {"discovery.objective=homogeneity", "discovery.vectors=1"}}) {
    const auto found = p.discover(settings);
    CHECK(found.exit_code == 2);
    CHECK_THAT(found.errors, Contains("discovery.vectors"));
  }
}

TEST_CASE("partition: killed and started again it gives the same file") {
  const Prepared p;
  const std::vector<std::string> settings = {"discovery.codes=6"};
  const auto undisturbed = p.discover(settings);
  REQUIRE(undisturbed.exit_code == 0);
  const auto whole = read_text_file(p.file());
  int killed = 0;
  for (const auto& kill : kills_during(undisturbed.seconds, {0.4, 0.6, 0.8})) {
    fs::remove_all(p.folder / "found");
    if (p.run(p.discovery(settings), kill).exit_code != 0) ++killed;
    REQUIRE(p.discover(settings).exit_code == 0);
    CHECK(read_text_file(p.file()) == whole);
  }
  CHECK(killed >= 1);
}

// One layer, eight tokens, width 16, four heads: exact Hessians per tensor.
TEST_CASE("partition: by energy, query and key fall into heads, shuffled, nothing is found") {
  const TemporaryFolder folder;
  const auto config =
      (fs::path(BLOCKWISE_SOURCE_DIR) / "configs/hessian/transformer-exact.yaml").string();
  const auto layout = resolve(YamlDocument::load(config).run_config()).layout;
  const auto discover = [&](const std::string& name, std::vector<std::string> settings) {
    std::vector<std::string> arguments = {"partition", config,
                                          "--output",  (folder / name).string(),
                                          "--set",     "hessian.batch_size=16",
                                          "--set",     "discovery.condition_blocks=0",
                                          "--set",     "discovery.validation_vectors=0"};
    for (const auto& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
    const auto result = run_program(arguments);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return (folder / name / "partition.yaml").string();
  };
  const auto exact = discover("exact", {});
  CHECK(chosen(exact, layout, ParameterRole::query) == std::vector<std::string>{"head"});
  CHECK(chosen(exact, layout, ParameterRole::key) == std::vector<std::string>{"head"});
  CHECK(chosen(exact, layout, ParameterRole::token_embedding) == std::vector<std::string>{"row"});
  const auto estimated = discover("estimated", {"hessian.exact=false"});
  CHECK(chosen(estimated, layout, ParameterRole::query) == std::vector<std::string>{"head"});
  CHECK(chosen(estimated, layout, ParameterRole::key) == std::vector<std::string>{"head"});
  const auto shuffled = discover("shuffled", {"hessian.exact=false", "discovery.shuffle=true"});
  const auto control = read_partition(shuffled, layout);
  for (const auto& tensor : control.partition.tensors()) {
    for (const auto& section : tensor.sections) {
      CHECK((section.rule == "whole" || section.columns == 1));
    }
  }
}

// A tanh MLP on classes: energies per row and column, estimated and exact.
TEST_CASE("partition: estimated energies of a tanh MLP agree with exact ones within their errors") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "mlp.yaml",
                        "name: mlp\noutput: " + (folder / "run").string() +
                            "\ndata: {kind: gaussian_classes, features: 12, classes: 6}\n"
                            "model: {family: mlp, hidden: [10], activation: tanh, bias: false}\n"
                            "optimizer: {rule: adamw, learning_rate: 1.0e-2}\n"
                            "trainer: {steps: 150, micro_batch_size: 64, checkpoint_every: 150}\n"
                            "hessian: {precision: fp64, batch_size: 256}\n"
                            "discovery: {vectors: 24, codes: 4, gradient_batches: 8,\n"
                            "            candidates: [row, column, tile_16]}\n");
  const auto config = (folder / "mlp.yaml").string();
  const auto trained = run_program({"train", config});
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  for (const auto& model : {std::string(), (folder / "run").string()}) {
    const auto found = [&](const std::string& exact) {
      const auto output = folder / ("found" + exact);
      fs::remove_all(output);
      std::vector<std::string> arguments = {"partition",     config,  "--output",
                                            output.string(), "--set", "hessian.exact=" + exact};
      if (!model.empty()) arguments.insert(arguments.end(), {"--model", model});
      const auto result = run_program(arguments);
      INFO(result.errors);
      REQUIRE(result.exit_code == 0);
      return scores(output / "scores.csv");
    };
    const auto exact = found("true"), estimated = found("false");
    int compared = 0;
    for (const auto& [key, row] : exact) {
      if (row.at("lift").empty()) continue;
      const auto& other = estimated.at(key);
      const double error = std::stod(other.at("lift_error"));
      INFO(model << " " << key << ": " << row.at("lift") << " and " << other.at("lift") << " ± "
                 << error);
      // 3.5 standard errors of 24 vectors: one in 600 is beyond them by chance.
      CHECK(std::abs(std::stod(other.at("lift")) - std::stod(row.at("lift"))) < 3.5 * error);
      CHECK(error < 0.2);
      ++compared;
    }
    CHECK(compared == 4);  // two tensors, rows and columns
  }
}

TEST_CASE("partition: its blocks are measured again, and compared with other partitions") {
  const Prepared p;
  const auto arguments = [&](const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> all = {"partition", "--output", (p.folder / output).string(), "--set",
                                    "discovery.vectors=4"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  REQUIRE(p.run(arguments("found", {})).exit_code == 0);
  REQUIRE(p.run(arguments("seed", {"--set", "discovery.seed=1"})).exit_code == 0);
  const auto other = (p.folder / "seed/partition.yaml").string();
  const auto result = p.run(arguments(
      "sample", {"--set", "discovery.sample=1", "--agree-with", p.file(), "--agree-with", other}));
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("fresh probes, the same batches") &&
                                Contains("fresh probes, other batches") &&
                                Contains("along the gradient cosine"));
  CHECK_THAT(result.output, Contains("agreement with " + p.file() + ": adjusted Rand ") &&
                                Contains("agreement with " + other));
  CHECK_THAT(read_text_file(p.file()),
             Contains("validation_other_batches:") && Contains("condition: "));
  // Itself: every group and every structure.
  const auto same = p.run(arguments("again", {"--agree-with", p.file()}));
  CHECK_THAT(same.output, Contains("adjusted Rand 1.000, the same structure in 100 % of"));
  const auto wrong = p.run(arguments("again", {"--agree-with", "nothing.yaml"}));
  CHECK(wrong.exit_code == 2);
  CHECK_THAT(wrong.errors, Contains("nothing.yaml: No such file"));
}

TEST_CASE("partition: whole sections merge where the Hessian couples them, not where it does not") {
  const Prepared p;
  const auto merged = [&](const std::vector<std::string>& more) {
    fs::remove_all(p.folder / "found");
    std::vector<std::string> settings = {"discovery.merge=true", "discovery.candidates=[whole]"};
    settings.insert(settings.end(), more.begin(), more.end());
    const auto result = p.discover(settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return result.output;
  };
  const auto output = merged({});
  CHECK_THAT(output, Contains("merged into one value: "));
  CHECK_THAT(read_text_file(p.file()), Contains("merged: 0"));
  CHECK_THAT(read_text_file(p.folder / "found/couplings.csv"),
             Contains("tensor,role,group,other_tensor"));
  const auto trained = p.run({"train", "--set", "optimizer.rule=adam_mini", "--set",
                              "optimizer.partition.file=" + p.file()});
  INFO(trained.errors);
  CHECK(trained.exit_code == 0);
  CHECK(read_run(p.folder / "run/run.h5").steps.size() == 6);
}

// Three blocks without anything between them.
TEST_CASE("partition: blocks that are not coupled are not merged") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "quadratic.yaml",
                        "name: q\noutput: " + (folder / "run").string() +
                            "\ndata: {kind: no_data}\n"
                            "model: {family: quadratic, blocks: 4, block_size: 12}\n"
                            "optimizer: {rule: adamw, learning_rate: 1.0e-2}\n"
                            "trainer: {steps: 2, micro_batch_size: 1}\n"
                            "hessian: {batches: 1, batch_size: 1, precision: fp64}\n");
  const auto result =
      run_program({"partition", (folder / "quadratic.yaml").string(), "--output",
                   (folder / "found").string(), "--set", "discovery.merge=true", "--set",
                   "discovery.candidates=[whole]", "--set", "discovery.gradient_batches=8"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, !Contains("merged into one value"));
  CHECK_THAT(read_text_file(folder / "found/partition.yaml"), !Contains("merged"));
  CHECK_THAT(result.output, Contains("the blocks hold 1.000 [1.000, 1.000]") &&
                                Contains("cosine 1.00, relative error 0.00"));
}

TEST_CASE("partition: by loss, it decides from paired runs, goes on when stopped, and ends alike") {
  const Prepared p;
  auto arguments =
      p.discovery({"discovery.objective=loss", "discovery.trial_steps=4", "discovery.trial_seeds=3",
                   "discovery.max_trials=24", "discovery.candidates=[row, column]",
                   "trainer.checkpoint_every=0", "trainer.evaluate_every=0"});
  arguments.insert(arguments.end(), {"--jobs", "2"});
  // Stopped early; what ran stays.
  CHECK(p.run(arguments, "timeout -s INT 4").exit_code != 2);
  const auto first = p.run(arguments);
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("By training:") && Contains("propose"));
  const auto text = read_text_file(p.file());
  const auto decisions = read_text_file(p.folder / "found/decisions.csv");
  CHECK_THAT(decisions, Contains("stage,role,candidate") && Contains("refine,"));
  std::int64_t runs = 0;
  for (const auto& entry : fs::directory_iterator(p.folder / "found/trials/members")) {
    CHECK(read_run(entry.path() / "run.h5").state == RunState::finished);
    ++runs;
  }
  CHECK(runs <= 24);
  fs::remove_all(p.folder / "found");
  REQUIRE(p.run(arguments).exit_code == 0);
  CHECK(read_text_file(p.file()) == text);
  CHECK(read_text_file(p.folder / "found/decisions.csv") == decisions);
  auto wrong = p.discovery({"discovery.objective=loss", "optimizer.rule=adamw"});
  const auto refused = p.run(wrong);
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.errors, Contains("'adamw' has no partition"));
}

// Products of the whole model: what is given is right within its error, and most small matrices
// have no lift at this few of them.
TEST_CASE("partition: scope model gives lifts that stand out from the noise, and no others") {
  const Prepared p;
  const std::vector<std::string> few = {"discovery.candidates=[row, column]",
                                        "discovery.condition_blocks=0",
                                        "discovery.validation_vectors=0"};
  const auto measured = [&](std::vector<std::string> more) {
    fs::remove_all(p.folder / "found");
    more.insert(more.end(), few.begin(), few.end());
    auto arguments = p.discovery(more);
    arguments.insert(arguments.end(), {"--model", (p.folder / "run").string()});
    const auto result = p.run(arguments);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return std::pair{scores(p.folder / "found/scores.csv"), result.output};
  };
  REQUIRE(p.run({"train", "--set", "trainer.steps=40"}).exit_code == 0);
  const auto exact = measured({"hessian.exact=true"}).first;
  double sum = 0.0;
  int count = 0, left_out = 0;
  for (const std::string seed : {"1", "2"}) {
    const auto [found, output] = measured({"discovery.scope=model", "discovery.seed=" + seed,
                                           "discovery.vectors=32", "discovery.codes=6"});
    for (const auto& [name, row] : found) {
      if (exact.at(name).at("lift").empty()) continue;
      if (row.at("lift").empty()) {
        ++left_out;
        continue;
      }
      const double difference = std::stod(row.at("lift")) - std::stod(exact.at(name).at("lift"));
      INFO(name << " " << row.at("lift") << " +- " << row.at("lift_error"));
      CHECK(std::abs(difference) < 5.0 * std::stod(row.at("lift_error")));
      sum += difference;
      ++count;
    }
    if (left_out > 0) CHECK_THAT(output, Contains("sections have no lift"));
  }
  CHECK(left_out > 0);
  // Those of the token embedding at least; single lifts are known to about 0.1.
  REQUIRE(count >= 3);
  CHECK(std::abs(sum / count) < 0.15);
}

TEST_CASE("partition: the bound on values holds, and bad input is one sentence") {
  const Prepared p;
  const std::vector<std::string> gradients = {"discovery.objective=signal_to_noise"};
  const auto values = [&](const std::string& bound) {
    auto settings = gradients;
    auto arguments = p.discovery(settings);
    arguments.insert(arguments.end(), {"--max-state", bound, "--json"});
    return p.run(arguments);
  };
  const auto layout = resolve(YamlDocument::load(p.folder / "run.yaml").run_config()).layout;
  const auto bounded = values("3%");
  INFO(bounded.errors);
  REQUIRE(bounded.exit_code == 0);
  const auto found = read_partition(p.file(), layout).partition.state_size();
  CHECK(found <= layout.size() * 3 / 100);
  CHECK_THAT(bounded.output, Contains(fmt::format("\"values\":{}", found)));
  const auto tight = values("0.01%");
  CHECK(tight.exit_code == 2);
  CHECK_THAT(tight.errors, Contains("discovery.max_state:") && Contains("the minimum is"));
  CHECK_THAT(values("-3").errors, Contains("no share above 0"));
  const auto large = p.discover({"hessian.exact=true", "model.n_embd=128"});
  CHECK(large.exit_code == 2);
  CHECK_THAT(large.errors, Contains("hessian.exact: tensor '"));
  const auto missing = p.run({"train", "--set", "optimizer.rule=adam_mini", "--set",
                              "optimizer.partition.file=nothing.yaml"});
  CHECK(missing.exit_code == 2);
  CHECK_THAT(missing.errors, Contains("nothing.yaml: No such file"));
}
