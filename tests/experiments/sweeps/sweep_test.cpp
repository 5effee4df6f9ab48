// Sweeps as processes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

const std::string kSweep = R"(sweep:
  seeds: [1, 2]
  baseline: adamw
  parameters:
    optimizer.learning_rate: {values: [1.0e-2]}
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
    - name: adam_mini
      set: {optimizer.rule: adam_mini}
)";

struct Prepared : SmallSweep {
  Prepared() : SmallSweep(6, kSweep) {}
};

}  // namespace

TEST_CASE("A sweep runs its members once, and only what is missing afterwards") {
  const Prepared p;
  const auto first = p.sweep();
  CHECK(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("\"finished\":4,\"diverged\":0,\"failed\":0,\"unfinished\":0"));
  const auto run = read_run(p.run_file("adamw-lr1.0e-2-s2"));
  CHECK(run.state == RunState::finished);
  CHECK(run.steps.size() == 6);

  const auto kept = fs::last_write_time(p.run_file("adamw-lr1.0e-2-s1"));
  fs::remove_all(p.member("adam_mini-lr1.0e-2-s1") / "checkpoints");
  fs::remove(p.run_file("adam_mini-lr1.0e-2-s1"));
  CHECK(p.sweep().exit_code == 0);
  CHECK(fs::last_write_time(p.run_file("adamw-lr1.0e-2-s1")) == kept);
  CHECK(read_run(p.run_file("adam_mini-lr1.0e-2-s1")).state == RunState::finished);

  const auto report = run_program({"report", (p.folder / "run").string(), "--json"});
  CHECK(report.exit_code == 0);
  CHECK(nlohmann::json::parse(report.output).is_object());
}

TEST_CASE("Pairs share their start: both optimizers see the same initial loss and data") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  for (const auto* seed : {"s1", "s2"}) {
    const auto adamw = read_run(p.run_file(std::string("adamw-lr1.0e-2-") + seed));
    const auto mini = read_run(p.run_file(std::string("adam_mini-lr1.0e-2-") + seed));
    CHECK(adamw.evaluations.front().loss == mini.evaluations.front().loss);
    CHECK(adamw.steps.front().loss == mini.steps.front().loss);
    CHECK(adamw.steps.back().loss != mini.steps.back().loss);
  }
}

TEST_CASE("A member that was changed by hand is refused by name") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto folder = p.member("adamw-lr1.0e-2-s1");
  const auto yaml = read_text_file(folder / "config.yaml");
  const auto with = [&](const std::string& from, const std::string& to) {
    auto text = yaml;
    REQUIRE(text.find(from) != std::string::npos);
    write_file_atomically(folder / "config.yaml", text.replace(text.find(from), from.size(), to));
  };
  SECTION("before it ran") {
    fs::remove(folder / "run.h5");
    fs::remove_all(folder / "checkpoints");
    with("learning_rate: 0.01", "learning_rate: 0.05");
    const auto result = p.sweep();
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains("adamw-lr1.0e-2-s1") &&
                                  Contains("was changed since it was prepared: "
                                           "optimizer.learning_rate is 0.05 there and 0.01 here"));
    CHECK(!fs::exists(folder / "run.h5"));
  }
  SECTION("so that it writes elsewhere: it is written again") {
    with("members/adamw-lr1.0e-2-s1", "members/elsewhere");
    CHECK(p.sweep().exit_code == 0);
    CHECK(read_text_file(folder / "config.yaml").find("elsewhere") == std::string::npos);
  }
  SECTION("and ran with the change") {
    fs::remove_all(folder);
    fs::create_directories(folder);
    with("learning_rate: 0.01", "learning_rate: 0.05");
    REQUIRE(run_program({"train", (folder / "config.yaml").string()}).exit_code == 0);
    const auto result = p.sweep();
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains("adamw-lr1.0e-2-s1") &&
                                  Contains("ran with another configuration: "
                                           "optimizer.learning_rate is 0.05 there and 0.01 here"));
    const auto report = run_program({"report", (p.folder / "run").string()});
    CHECK(report.exit_code == 0);
    CHECK_THAT(report.output, Contains("'adamw-lr1.0e-2-s1' ran another configuration"));
    fs::remove_all(folder);
    CHECK(p.sweep().exit_code == 0);
    CHECK(read_run(folder / "run.h5").config_yaml.find("learning_rate: 0.01") != std::string::npos);
  }
  SECTION("in what does not define it: as many threads as there are") {
    with("threads: 1", "threads: 2");
    CHECK(p.sweep().exit_code == 0);
  }
}

// The disk was full after the first members: no manifest yet. Then the file was changed.
TEST_CASE("A preparation that died is done again, whatever it left") {
  const Prepared p;
  const auto first = p.sweep({"--set", "trainer.steps=4"});
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  const auto sweep = p.folder / "run";
  const auto left = p.member("adamw-lr1.0e-2-s1");
  const auto old = read_text_file(left / "config.yaml");
  fs::remove_all(sweep);
  fs::create_directories(left);
  write_file_atomically(left / "config.yaml", old);
  write_file_atomically(sweep / "index.h5", "half of i");
  REQUIRE(p.sweep().exit_code == 0);
  CHECK(read_run(left / "run.h5").last_step == 6);
  const auto report = run_program({"report", sweep.string(), "--json"});
  CHECK(report.exit_code == 0);
  CHECK(report.output.find("another configuration") == std::string::npos);
}

TEST_CASE("A run that was there before the manifest is kept only where it is the member's") {
  const Prepared p;
  const auto first = p.sweep({"--set", "optimizer.beta2=0.9"});
  INFO(first.errors);
  REQUIRE(first.exit_code == 0);
  fs::remove(p.folder / "run/manifest.json");
  const auto result = p.sweep();
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("members/adamw-lr1.0e-2-s1/run.h5: the member") &&
                                Contains("ran with another configuration: optimizer.beta2 is 0.9"));
  CHECK(!fs::exists(p.folder / "run/manifest.json"));
  CHECK(p.sweep({"--set", "optimizer.beta2=0.9"}).exit_code == 0);
}

TEST_CASE("The manifest has a hash of every member, an older one gets them") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto path = p.folder / "run/manifest.json";
  auto manifest = nlohmann::ordered_json::parse(read_text_file(path));
  for (const auto& member : manifest["members"]) {
    const auto run = read_run(p.folder / "run" / member["run"].get<std::string>());
    CHECK(member["config_hash"] == run.config_hash);
  }
  const auto whole = read_text_file(path);
  for (auto& member : manifest["members"]) member.erase("config_hash");
  write_file_atomically(path, manifest.dump(2) + "\n");
  CHECK(p.sweep().exit_code == 0);
  CHECK(read_text_file(path) == whole);
}

TEST_CASE("A member's mistake is found before anything runs") {
  const Prepared p;
  const auto result =
      p.sweep({"--set", "sweep.parameters={optimizer.learning_rat: {values: [1]}}"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("did you mean 'learning_rate'?"));
  CHECK(!fs::exists(p.folder / "run"));
}

TEST_CASE("Diverged members do not stop a sweep and are not run again") {
  const Prepared p;
  const auto first = p.sweep({"--set", "trainer.divergence_loss=1.0"});
  CHECK(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("\"finished\":0,\"diverged\":4"));
  const auto again = p.sweep_in_words({"--set", "trainer.divergence_loss=1.0"});
  CHECK(again.exit_code == 0);
  CHECK_THAT(again.output, Contains("0 of 4 members finished, 4 diverged") &&
                               Contains("Diverged members are results, not failures"));
}

TEST_CASE("A failed member is reported and runs again next time") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto file = p.run_file("adamw-lr1.0e-2-s1");
  // With a checkpoint it would go on from there.
  fs::remove_all(file.parent_path() / "checkpoints");
  write_file_atomically(file, "not a run file");
  const auto broken = p.sweep();
  CHECK(broken.exit_code == 1);
  CHECK_THAT(broken.output, Contains("\"finished\":3,\"diverged\":0,\"failed\":1"));
  fs::remove(file);
  CHECK(p.sweep().exit_code == 0);
}

TEST_CASE("A stopped sweep continues where it was") {
  const SmallSweep p(300, kSweep);
  const pid_t process = start_program({"sweep", p.config});
  while (!fs::exists(p.member("adamw-lr1.0e-2-s1") / "checkpoints")) ::usleep(5'000);
  ::kill(process, SIGTERM);
  int status = 0;
  ::waitpid(process, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 4));
  std::int64_t taken = 0;
  for (const auto* id : {"adamw-lr1.0e-2-s1", "adamw-lr1.0e-2-s2", "adam_mini-lr1.0e-2-s1",
                         "adam_mini-lr1.0e-2-s2"}) {
    if (fs::exists(p.run_file(id))) taken += read_run(p.run_file(id)).last_step;
  }
  REQUIRE(taken > 0);
  const auto resumed = p.sweep();
  CHECK(resumed.exit_code == 0);
  // The first line counts what was there.
  const auto bar = resumed.errors.find("left | ");
  REQUIRE(bar != std::string::npos);
  CHECK(std::stoll(resumed.errors.substr(bar + 7)) >= taken);
  CHECK(read_run(p.run_file("adam_mini-lr1.0e-2-s2")).state == RunState::finished);
}

TEST_CASE("A member goes on when the sweep that started it is killed") {
  const SmallSweep p(1500, "sweep: {seeds: [1]}");
  const pid_t process = start_program({"sweep", p.config});
  const auto file = p.run_file("run-s1");
  while (!fs::exists(file)) ::usleep(5'000);
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
  CHECK(!p.finished("run-s1"));
  for (int i = 0; i < 600 && !p.finished("run-s1"); ++i) ::usleep(100'000);
  CHECK(p.result("run-s1").steps.size() == 1500);
}
