// Running on: longer, with other settings that do not define the run, and what is refused by name.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/config/config_keys.hpp"
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/same_runs.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

struct Small : SmallRunFolder {
  using Sets = std::vector<std::string>;
  Small() : SmallRunFolder(12) {}

  // Trains run.yaml with these settings into the folder `output`.
  ProgramResult train(const std::string& output, const Sets& settings) const {
    std::vector<std::string> words = {"train", "--output", (folder / output).string()};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return run(words);
  }
  RunResult trained(const std::string& output, const Sets& settings) const {
    const auto result = train(output, settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_run(folder / output / "run.h5");
  }
  std::string refusal(const std::string& output, const Sets& settings) const {
    const auto result = train(output, settings);
    CHECK(result.exit_code == 2);
    CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
    return result.errors;
  }
  RunIdentity identity(const std::string& output) const {
    return read_run_identity(folder / output / "run.h5");
  }
};

void flip_byte(const fs::path& path, std::streamoff at) {
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(at);
  const auto byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(at);
  stream.put(byte);
}

}  // namespace

TEST_CASE("A finished run goes on to more steps as if it had had them from the start", "[resume]") {
  const Small s;
  const Small::Sets schedule = {
      GENERATE("schedule.name=constant", "schedule.steps=40", "schedule.name=wsd")};
  // The stable part of wsd lasts to step 9 of 12: the shorter run has left it, so it is stopped
  // before, and all is as under the longer one.
  const bool cut = schedule.front() == "schedule.name=wsd";
  const auto longer = [&](std::string steps) { return Small::Sets{schedule.front(), steps}; };
  const auto whole = s.trained("whole", longer("trainer.steps=18"));
  const auto shorter = s.trained("grown", longer("trainer.steps=12"));
  if (cut) {
    for (const auto step : {9, 12}) fs::remove_all(checkpoint_folder(s.folder / "grown", step));
    auto recorder = RunRecorder::resume(s.folder / "grown/run.h5", shorter.config_hash, 6);
    recorder.set_status(RunState::interrupted, "by the test", 6);
    recorder.close();
  }
  const auto grown = s.trained("grown", longer("trainer.steps=18"));
  CHECK(grown.state == RunState::finished);
  CHECK(grown.config_hash == whole.config_hash);
  CHECK(grown.config_hash != shorter.config_hash);
  check_same_steps(grown, whole);
  check_same_checkpoints(s.folder / "grown", s.folder / "whole", 18);
  // Evaluations are every 4 steps; at its end the shorter run had one more that is due anyway.
  CHECK(grown.evaluations.back().loss == whole.evaluations.back().loss);
  const auto changes = s.identity("grown").history.changes;
  REQUIRE(changes.size() == 1);
  CHECK((changes[0].key == "trainer.steps" && changes[0].before == "12" &&
         changes[0].after == "18" && changes[0].from_step == (cut ? 7 : 13)));
  // A second process finds the checkpoints of both lengths.
  fs::remove_all(checkpoint_folder(s.folder / "grown", 18));
  fs::remove_all(checkpoint_folder(s.folder / "grown", 15));
  RunRecorder::resume(s.folder / "grown/run.h5", grown.config_hash, cut ? 6 : 12).close();
  for (const auto step : {9, 12}) {
    if (cut) fs::remove_all(checkpoint_folder(s.folder / "grown", step));
  }
  check_same_steps(s.trained("grown", longer("trainer.steps=18")), whole);
}

TEST_CASE("A schedule that depends on the run's length: said, and the new one holds", "[resume]") {
  const Small s;
  const auto shorter = s.trained("run", {});
  const auto result = s.train("run", {"trainer.steps=18"});
  REQUIRE(result.exit_code == 0);
  CHECK_THAT(result.errors, Contains("the schedule 'cosine' depends on the run's length, which was "
                                     "12 and is 18: steps 1 to 12"));
  const auto run = read_run(s.folder / "run/run.h5");
  const auto whole = s.trained("whole", {"trainer.steps=18"});
  REQUIRE(run.steps.size() == 18);
  CHECK(run.steps[11].learning_rate == shorter.steps[11].learning_rate);
  CHECK(run.steps[11].learning_rate != whole.steps[11].learning_rate);
  for (std::size_t i = 12; i < 18; ++i) {
    CHECK(run.steps[i].learning_rate == whole.steps[i].learning_rate);
  }
  CHECK(run.steps[12].loss != whole.steps[12].loss);
  CHECK(s.identity("run").history.changes.size() == 1);
}

TEST_CASE("What does not define a run changes freely and is recorded with its step", "[resume]") {
  const Small s;
  const auto before = s.trained("run", {"schedule.name=constant"});
  fs::create_directories(s.folder / "elsewhere");
  for (const auto* file : {"train.bin", "validation.bin", "manifest.json"}) {
    fs::rename(s.folder / file, s.folder / "elsewhere" / file);
  }
  const auto train = (s.folder / "elsewhere/train.bin").string();
  const auto run =
      s.trained("run", {"schedule.name=constant", "trainer.steps=18", "trainer.evaluate_every=5",
                        "trainer.checkpoint_every=4", "data.train=" + train,
                        "data.validation=" + (s.folder / "elsewhere/validation.bin").string(),
                        "search_lr.points=9", "hessian.lanczos.steps=7", "discovery.vectors=3"});
  CHECK(run.steps.size() == 18);
  CHECK(run.evaluations.back().step == 18);
  CHECK(run.evaluations[run.evaluations.size() - 2].step == 15);
  const auto identity = s.identity("run");
  const auto& changes = identity.history.changes;
  CHECK(std::ranges::all_of(changes, [](const auto& c) { return c.from_step == 13; }));
  const auto of = [&](const std::string& key) {
    const auto found = std::ranges::find(changes, key, &ConfigChange::key);
    return found == changes.end() ? "" : found->before + " -> " + found->after;
  };
  CHECK(of("trainer.evaluate_every") == "4 -> 5");
  CHECK(of("hessian.lanczos.steps") == "80 -> 7");
  CHECK_THAT(of("data.train"), Contains("elsewhere/train.bin"));
  CHECK_THAT(identity.config_yaml, Contains("evaluate_every: 5"));
  CHECK(read_text_file(s.folder / "run/config.yaml") == identity.config_yaml);
  // What does not define it does not change its hash.
  auto document = YamlDocument::parse(before.config_yaml, "test");
  document.set("trainer.steps=18");
  CHECK(run.config_hash == config_hash(ConfigLines(to_yaml(document.run_config())), ""));
}

TEST_CASE("Another run is refused by the keys that differ, with both values", "[resume]") {
  const Small s;
  s.trained("run", {});
  const auto error =
      s.refusal("run", {"optimizer.learning_rate=0.5", "seed=2", "trainer.steps=18"});
  CHECK_THAT(error, Contains("optimizer.learning_rate is 0.01 there and 0.5 here") &&
                        Contains("seed is 1 there and 2 here") && !Contains("hash") &&
                        !Contains("trainer.steps") && Contains("--from"));
  CHECK_THAT(s.refusal("run", {"trainer.steps=6"}),
             Contains("trainer.steps is 12 there and 6 here; it has done 12 steps"));
  CHECK_THAT(s.refusal("run", {"schedule.steps=40"}),
             Contains("schedule.steps is 0 there and 40 here"));
  CHECK_THAT(s.refusal("run", {"optimizer.rule=adamw"}),
             Contains("optimizer.rule is adam_mini there and adamw here") && Contains("more"));
  CHECK(read_run(s.folder / "run/run.h5").steps.size() == 12);
  // Without the last step's checkpoint there is nothing to go on from.
  fs::remove_all(s.folder / "run/checkpoints");
  CHECK_THAT(s.refusal("run", {"trainer.steps=18"}), Contains("no checkpoint of that step"));
  CHECK(read_run(s.folder / "run/run.h5").steps.size() == 12);
}

TEST_CASE("A run that diverged goes on under another bound alone", "[resume]") {
  const Small s;
  for (int i = 0; i < 2; ++i) {
    CHECK(s.train("run", {"trainer.divergence_loss=1.0"}).exit_code == 3);
    const auto diverged = read_run(s.folder / "run/run.h5");
    CHECK((diverged.state == RunState::diverged && diverged.steps.size() == 1));
  }
  const auto run = s.trained("run", {"trainer.divergence_loss=100"});
  CHECK(run.state == RunState::finished);
  CHECK(run.steps.size() == 12);
}

TEST_CASE("Data that changed under the same name are noticed", "[resume]") {
  const Small s;
  s.trained("run", {});
  SECTION("one token of the training file") {
    flip_byte(s.folder / "train.bin", 1024 + 2 * 3000);
    CHECK_THAT(s.refusal("run", {"trainer.steps=18"}), Contains("data.train has changed") &&
                                                           Contains("train.bin had 13024 bytes") &&
                                                           Contains("SHA-256"));
  }
  SECTION("one of the validation file") {
    flip_byte(s.folder / "validation.bin", 1024);
    CHECK_THAT(s.refusal("run", {"trainer.steps=18"}), Contains("data.validation has changed"));
  }
  SECTION("its length") {
    write_small_corpus(s.folder / "other", 8000);
    CHECK_THAT(s.refusal("run", {"data.train=" + (s.folder / "other/train.bin").string()}),
               Contains("had 13024 bytes") && Contains("other/train.bin has 17024 bytes"));
  }
  SECTION("a mask that was not there") {
    write_file_atomically(s.folder / "train.mask", std::string(6000, '\1'));
    CHECK_THAT(s.refusal("run", {"trainer.steps=18"}),
               Contains("data.train has changed: it led to 1 files and leads to 2"));
  }
  SECTION("the hash in its manifest, where the samples are the same") {
    const auto manifest = [&](char digit) {
      auto json = nlohmann::ordered_json::parse(read_text_file(s.folder / "manifest.json"));
      json["files"]["train"]["shards"][0]["sha256"] = std::string(64, digit);
      write_file_atomically(s.folder / "manifest.json", json.dump());
    };
    manifest('a');
    s.trained("run", {"schedule.name=cosine", "trainer.steps=15"});  // notes the hash
    manifest('b');
    CHECK_THAT(s.refusal("run", {"trainer.steps=18"}),
               Contains("by its manifest aaaaaaaaaaaa") && Contains("bbbbbbbbbbbb"));
  }
}

TEST_CASE("Runs of before identities were written go on", "[resume]") {
  const Small s;
  const auto before = s.trained("run", {"schedule.name=constant"});
  const auto marker = checkpoint_folder(s.folder / "run", 12) / "checkpoint.json";
  auto json = nlohmann::ordered_json::parse(read_text_file(marker));
  json.erase("run");
  write_file_atomically(marker, json.dump());
  auto file = Hdf5File::open_for_appending(s.folder / "run/run.h5");
  file.remove("/config/data");
  file.close();
  const auto other = (s.folder / "copy.bin").string();
  fs::copy_file(s.folder / "train.bin", other);
  CHECK_THAT(s.refusal("run", {"schedule.name=constant", "data.train=" + other}),
             Contains("did not note what its data were"));
  CHECK(s.trained("run", {"schedule.name=constant", "trainer.steps=18"}).steps.size() == 18);
  CHECK(s.identity("run").history.data.size() == 2);
}

TEST_CASE("Every key that may change on resume is a key", "[resume]") {
  const Small s;
  const auto text = to_yaml(YamlDocument::load(s.config).run_config());
  const ConfigLines config(text);
  std::size_t free = 0, length = 0, content = 0;
  for (const auto& line : config.lines()) {
    if (line.value.empty()) continue;
    const bool other = line.path.starts_with("discovery.") || line.path.starts_with("search_lr.");
    free += key_kind(line.path) == KeyKind::free && !other ? 1U : 0U;
    length += key_kind(line.path) == KeyKind::length ? 1U : 0U;
    content += key_kind(line.path) == KeyKind::content ? 1U : 0U;
  }
  CHECK(free == 28);
  CHECK(length == 2);
  CHECK(content == 6);
  CHECK(config.yaml() == text);
}
