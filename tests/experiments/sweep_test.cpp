// Sweeps as processes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "experiments/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

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

struct Prepared : SmallRunFolder {
  Prepared() : SmallRunFolder(6, kSweep) {}
  ProgramResult sweep(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"sweep", "--jobs", "2"});
    return run(more);
  }
  fs::path member(const std::string& id) const {
    return folder / "run" / "members" / id / "run.h5";
  }
};

}  // namespace

TEST_CASE("A sweep runs its members once, and only what is missing afterwards") {
  const Prepared p;
  const auto first = p.sweep({"--json"});
  CHECK(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("\"finished\":4,\"diverged\":0,\"failed\":0,\"unfinished\":0"));
  const auto run = read_run(p.member("adamw-lr1.0e-2-s2"));
  CHECK(run.state == RunState::finished);
  CHECK(run.steps.size() == 6);

  const auto kept = fs::last_write_time(p.member("adamw-lr1.0e-2-s1"));
  fs::remove_all(p.member("adam_mini-lr1.0e-2-s1").parent_path() / "checkpoints");
  fs::remove(p.member("adam_mini-lr1.0e-2-s1"));
  CHECK(p.sweep().exit_code == 0);
  CHECK(fs::last_write_time(p.member("adamw-lr1.0e-2-s1")) == kept);
  CHECK(read_run(p.member("adam_mini-lr1.0e-2-s1")).state == RunState::finished);

  const auto report = run_program({"report", (p.folder / "run").string(), "--json"});
  CHECK(report.exit_code == 0);
  CHECK(nlohmann::json::parse(report.output).is_object());
}

TEST_CASE("Pairs share their start: both optimizers see the same initial loss and data") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  for (const auto* seed : {"s1", "s2"}) {
    const auto adamw = read_run(p.member(std::string("adamw-lr1.0e-2-") + seed));
    const auto mini = read_run(p.member(std::string("adam_mini-lr1.0e-2-") + seed));
    CHECK(adamw.evaluations.front().loss == mini.evaluations.front().loss);
    CHECK(adamw.steps.front().loss == mini.steps.front().loss);
    CHECK(adamw.steps.back().loss != mini.steps.back().loss);
  }
}

TEST_CASE("The manifest is frozen") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto result = p.sweep({"--set", "trainer.steps=7"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("manifest.json") && Contains("other members"));
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
  const auto first = p.sweep({"--set", "trainer.divergence_loss=1.0", "--json"});
  CHECK(first.exit_code == 0);
  CHECK_THAT(first.output, Contains("\"finished\":0,\"diverged\":4"));
  const auto again = p.sweep({"--set", "trainer.divergence_loss=1.0", "--json"});
  CHECK_THAT(again.output, Contains("\"finished\":0,\"diverged\":4"));
}

TEST_CASE("A failed member is reported and runs again next time") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto file = p.member("adamw-lr1.0e-2-s1");
  write_file_atomically(file, "not a run file");
  const auto broken = p.sweep({"--json"});
  CHECK(broken.exit_code == 1);
  CHECK_THAT(broken.output, Contains("\"finished\":3,\"diverged\":0,\"failed\":1"));
  fs::remove_all(file.parent_path() / "checkpoints");
  fs::remove(file);
  CHECK(p.sweep().exit_code == 0);
}

TEST_CASE("A stopped sweep continues where it was") {
  const Prepared p;
  const pid_t process = start_program({"sweep", p.config});
  while (!fs::exists(p.member("adamw-lr1.0e-2-s1"))) ::usleep(5'000);
  ::kill(process, SIGTERM);
  int status = 0;
  ::waitpid(process, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 1));
  CHECK(p.sweep({"--json"}).exit_code == 0);
  CHECK(read_run(p.member("adam_mini-lr1.0e-2-s2")).state == RunState::finished);
}
