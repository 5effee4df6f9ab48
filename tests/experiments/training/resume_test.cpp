// Stopping at any moment and going on gives the bits of never having stopped.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "core/io/input_file.hpp"
#include "core/io/safetensors.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/same_runs.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kSteps = 40;

struct Prepared : SmallRunFolder {
  Prepared() : SmallRunFolder(kSteps) {}
  std::string path(const std::string& name) const { return (folder / name).string(); }
};

int wait_for(pid_t process) {
  int status = 0;
  ::waitpid(process, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Kills and starts again, with other settings than those of the run that is not killed.
void check_kills(const Prepared& p, int kills, const std::vector<std::string>& settings,
                 const std::vector<std::string>& of_killed) {
  const auto words = [&](const std::string& name, bool killed) {
    std::vector<std::string> all = {"train", p.config, "--output", p.path(name)};
    all.insert(all.end(), settings.begin(), settings.end());
    if (killed) all.insert(all.end(), of_killed.begin(), of_killed.end());
    return all;
  };
  REQUIRE(run_program(words("whole", false)).exit_code == 0);
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  // The run takes a second or so; kills fall anywhere in it, start-up and checkpoint writing
  // included.
  std::uniform_int_distribution<useconds_t> moment(50'000, 900'000);
  int killed = 0, starts = 0;
  while (killed < kills && starts < 10 * kills) {
    ++starts;
    const pid_t process = start_program(words("killed", true));
    ::usleep(moment(random));
    ::kill(process, SIGKILL);
    if (wait_for(process) == -SIGKILL) {
      ++killed;
      continue;
    }
    check_same_runs(p.path("whole"), p.path("killed"),
                    kSteps);  // it finished between kills: start over
    std::filesystem::remove_all(p.path("killed"));
  }
  CHECK(killed == kills);
  REQUIRE(run_program(words("killed", true)).exit_code == 0);
  check_same_runs(p.path("whole"), p.path("killed"), kSteps);
}

// BLOCKWISE_KILLS says how many; otherwise what the test says.
int kills_or(int usual) {
  const char* wanted = std::getenv("BLOCKWISE_KILLS");
  return wanted != nullptr ? std::stoi(wanted) : usual;
}

}  // namespace

TEST_CASE("kill -9 at 20 random moments and resume: bit-equal", "[resume]") {
  check_kills(Prepared(), kills_or(20), {}, {});
}

TEST_CASE("kill -9 while state is paged and resume: the bits of a run with all of it in memory",
          "[resume]") {
  // 0.8M parameters: 6.4 MB of AdamW's state, of which 2 MB are in memory.
  check_kills(Prepared(), kills_or(5), {"--set", "model.n_embd=128", "--set", "model.n_layer=4"},
              {"--set", "optimizer.state.resident_mb=2"});
}

TEST_CASE("kill -9 while masters and state are paged and resume: the bits of a run in memory",
          "[resume]") {
  // What the 7B run of configs/ladder does, small: 1.6 MB of residuals, of which 1 MB is in memory.
  check_kills(
      Prepared(), kills_or(5),
      {"--set", "model.n_embd=128", "--set", "model.n_layer=8", "--set", "trainer.precision=bf16",
       "--set", "trainer.master_weights=residual_8bit", "--set", "trainer.gradients=released",
       "--set", "trainer.global_batch_tokens=0", "--set", "trainer.activation_checkpointing=true",
       "--set", "optimizer.state.first_moments=dynamic_8bit"},
      {"--set", "optimizer.state.resident_mb=1", "--set", "trainer.master_resident_mb=1"});
}

TEST_CASE("SIGTERM stops at a step boundary with a checkpoint, the same command continues",
          "[resume]") {
  const Prepared p;
  REQUIRE(run_program({"train", p.config, "--output", p.path("whole")}).exit_code == 0);
  const pid_t process = start_program({"train", p.config, "--output", p.path("stopped")});
  while (!Hdf5File::is_hdf5(p.path("stopped") + "/run.h5")) ::usleep(2'000);
  ::usleep(30'000);
  ::kill(process, SIGTERM);
  const int code = wait_for(process);
  const auto stopped = read_run(p.path("stopped") + "/run.h5");
  CHECK(code == exit_code_of(stopped.state));
  if (stopped.state == RunState::interrupted) {
    REQUIRE(!checkpoint_steps(p.path("stopped")).empty());
    CHECK(checkpoint_steps(p.path("stopped")).back() == stopped.last_step);
  }
  REQUIRE(run_program({"train", p.config, "--output", p.path("stopped")}).exit_code == 0);
  check_same_runs(p.path("whole"), p.path("stopped"), kSteps);
}

TEST_CASE("A run that goes on with other threads says so from which step", "[resume]") {
  const Prepared p;
  REQUIRE(run_program({"train", p.config, "--threads", "1"}).exit_code == 0);
  const auto path = p.path("run") + "/run.h5";
  for (std::int64_t step = kSteps; step > 21; --step) {
    std::filesystem::remove_all(checkpoint_folder(p.path("run"), step));
  }
  RunRecorder::resume(path, read_run(path).config_hash, 21).close();
  REQUIRE(run_program({"train", p.config, "--threads", "2"}).exit_code == 0);
  const auto run = read_run(path);
  REQUIRE(run.processes.size() == 2);
  CHECK((run.processes[0].from_step == 1 && run.processes[0].provenance.threads == 1));
  CHECK((run.processes[1].from_step == 22 && run.processes[1].provenance.threads == 2));
  CHECK(run.steps.size() == kSteps);
}

TEST_CASE("A finished run is left as it is", "[resume]") {
  const Prepared p;
  REQUIRE(run_program({"train", p.config}).exit_code == 0);
  const auto before = read_text_file(p.path("run") + "/run.h5");
  const auto again = run_program({"train", p.config, "--json"});
  CHECK(again.exit_code == 0);
  CHECK_THAT(again.output, blockwise::testing::Contains("\"state\":\"finished\""));
  CHECK(read_text_file(p.path("run") + "/run.h5") == before);
}
