// Verbs that take what they need from the folder of a run.
#include "experiments/config/run_source.hpp"

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/hdf5_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

// A run of four steps, with checkpoints at 3 and 4.
struct TrainedRun {
  SmallRunFolder small{4};
  std::string run = (small.folder / "run").string();

  TrainedRun() { REQUIRE(small.run({"train"}).exit_code == 0); }
};

ProgramResult measure(const std::string& model, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"spectrum",    "--model", model,
                                    "--no-figure", "--set",   "hessian.lanczos.steps=4"};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

}  // namespace

TEST_CASE("spectrum --model RUN takes data, length and output name from the run, and its step") {
  const TrainedRun trained;
  const auto result = measure(trained.run);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("curvature of step 4 of the run " + trained.run));
  const auto file = Hdf5File::open_for_reading(trained.run + "-spectrum/spectrum.h5");
  CHECK(file.text_attribute("/hessian", "model") == "step 4 of the run " + trained.run);
  CHECK(file.integer_column("/hessian/points/step") == std::vector<std::int64_t>{4});
  CHECK(file.integer_column("/hessian/summary/step") == std::vector<std::int64_t>{4});
  const auto config = YamlDocument::load(trained.run + "-spectrum/config.yaml").run_config();
  CHECK(config.data.spec->stated_shape().sequence_length == 16);
}

TEST_CASE("spectrum: a checkpoint of a run has its step, flags go over the run's") {
  const TrainedRun trained;
  const auto result = measure(checkpoint_folder(trained.run, 3).string(),
                              {"--sequence-length", "8", "--tokens",
                               (trained.small.folder / "validation.bin").string(), "--json"});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  const auto word = nlohmann::json::parse(result.output);
  CHECK(word["blocks"][0]["step"] == 3);
  const auto config = YamlDocument::load(trained.run + "-spectrum/config.yaml").run_config();
  CHECK(config.data.spec->stated_shape().sequence_length == 8);
}

TEST_CASE("A run that went on from another model is evaluated without that one") {
  const TrainedRun first;
  const TemporaryFolder folder;
  const auto run = (folder / "run").string();
  REQUIRE(first.small.run({"train", "--set", "model={from: " + first.run + "}", "--output", run})
              .exit_code == 0);
  fs::remove_all(first.run);
  const auto result = run_program({"eval", "--model", run});
  INFO(result.errors);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.output, Contains("tokens predicted"));
}

TEST_CASE("spectrum: a YAML with a model of another size measures the model that is given") {
  const TrainedRun trained;
  const auto yaml = (trained.small.folder / "other.yaml").string();
  write_file_atomically(yaml, small_run_yaml(trained.small.folder.path()));
  const auto result = run_program({"spectrum", yaml, "--model", trained.run, "--dry-run"});
  CHECK(result.exit_code == 0);
  auto wider = YamlDocument::load(yaml);
  auto text = small_run_yaml(trained.small.folder.path());
  text.replace(text.find("n_embd: 16"), 10, "n_embd: 32");
  write_file_atomically(yaml, text);
  const auto other = run_program({"spectrum", yaml, "--model", trained.run, "--dry-run"});
  INFO(other.errors);
  CHECK(other.exit_code == 0);
  CHECK(other.output == result.output);
}

TEST_CASE("spectrum: a run that trained on is not measured into the same file") {
  const TrainedRun trained;
  REQUIRE(measure(trained.run).exit_code == 0);
  fs::remove_all(checkpoint_folder(trained.run, 4));
  const auto result = measure(trained.run);
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("was measured at step 4, it is step 3 of the run") &&
                                Contains("another --output"));
}

TEST_CASE("partition, search-lr and eval of a run need no YAML and no tokens") {
  const TrainedRun trained;
  const auto partition =
      run_program({"partition", "--model", trained.run, "--set", "discovery.vectors=2"});
  INFO(partition.errors);
  CHECK(partition.exit_code == 0);
  CHECK(fs::exists(trained.run + "-partition/partition.yaml"));
  CHECK_THAT(partition.output,
             Contains("blockwise train " + trained.run + "/config.yaml --output " + trained.run));
  const auto rates = run_program({"search-lr", "--model", trained.run, "--method", "mean_v",
                                  "--set", "search_lr.gradient_batches=8"});
  INFO(rates.errors);
  CHECK(rates.exit_code == 0);
  // 8 squared gradients of 8 examples, against the Hessian's 8 examples.
  CHECK_THAT(rates.output, Contains("about 8 gradients of 8 examples"));
  const auto tokens = (trained.small.folder / "validation.bin").string();
  const auto own = run_program({"eval", "--model", trained.run});
  INFO(own.errors);
  CHECK(own.exit_code == 0);
  CHECK(own.output ==
        run_program({"eval", "--model", trained.run, "--tokens", tokens, "--sequence-length", "16"})
            .output);
}

TEST_CASE("A model that is no run says what is to be given") {
  const TrainedRun trained;
  const auto exported = (trained.small.folder / "exported").string();
  REQUIRE(run_program({"export", "--model", trained.run, "--output", exported}).exit_code == 0);
  CHECK(!run_folder_of(exported));
  CHECK(run_folder_of(trained.run + "/") == fs::path(trained.run));
  CHECK(run_folder_of(checkpoint_folder(trained.run, 3)) == fs::canonical(trained.run));
  for (const std::string verb : {"spectrum", "partition", "search-lr", "eval"}) {
    const auto result = run_program({verb, "--model", exported});
    INFO(verb << ": " << result.errors);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains("is no run") && Contains("give"));
  }
  for (const std::string verb : {"spectrum", "eval"}) {
    const auto missing = run_program({verb, "--model", trained.run + "-missing"});
    CHECK(missing.exit_code == 2);
    CHECK_THAT(missing.errors, Contains("there is no model " + trained.run + "-missing"));
  }
  for (const std::string verb : {"spectrum", "partition", "search-lr"}) {
    const auto result = run_program({verb});
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains(verb + ": give a YAML file, or --model"));
  }
}
