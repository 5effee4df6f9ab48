// What a run does when a terminal or a scheduler tells it to stop.
#include "experiments/terminal/stop_signal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "core/io/input_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;

namespace {

constexpr std::int64_t kSteps = 12;
constexpr std::int64_t kStoppedStep = 7;  // of no evaluation

// Trains without intervals, in a process of its own that raises the signal behind a step: whatever
// it leaves, the signal made it. Says how that ended.
std::string train_and_raise(const SmallRunFolder& small, const std::string& output,
                            std::int64_t step, int signal) {
  ChildProcess child([&](const auto& say) {
    auto document = YamlDocument::load(small.config);
    document.set("trainer.checkpoint_every=0");
    auto config = document.run_config();
    config.output = (small.folder / output).string();
    install_stop_handlers("step");
    const auto raise = [&](const StepRecord& row) {
      if (row.step == step) std::raise(signal);
    };
    const auto outcome = train(resolve(config), {raise, stop_requested, stop_signal_name});
    say(outcome.message);
  });
  return child.wait().text;
}

// The same to its end.
int train_on(const SmallRunFolder& small, const std::string& output) {
  return small
      .run({"train", "--set", "trainer.checkpoint_every=0", "--output",
            (small.folder / output).string()})
      .exit_code;
}

void check_same_end(const std::string& a, const std::string& b) {
  const auto x = read_run(a + "/run.h5"), y = read_run(b + "/run.h5");
  REQUIRE(x.steps.size() == std::size_t(kSteps));
  REQUIRE(y.steps.size() == std::size_t(kSteps));
  for (std::size_t i = 0; i < x.steps.size(); ++i) CHECK(x.steps[i].loss == y.steps[i].loss);
  REQUIRE(x.evaluations.size() == y.evaluations.size());
  for (std::size_t i = 0; i < x.evaluations.size(); ++i) {
    CHECK(x.evaluations[i].step == y.evaluations[i].step);
    CHECK(x.evaluations[i].loss == y.evaluations[i].loss);
  }
  for (const auto* file : {"parameters.safetensors", "optimizer.safetensors"}) {
    CHECK(read_text_file(checkpoint_folder(a, kSteps) / file) ==
          read_text_file(checkpoint_folder(b, kSteps) / file));
  }
}

// What a child wrote to standard error, and how it ended.
template <typename Work>
ChildResult errors_of(Work work) {
  ChildProcess child([&](const auto& say) {
    const TemporaryFolder folder;
    const auto path = (folder / "errors").string();
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    ::dup2(file, STDERR_FILENO);
    work(say);
    say(read_text_file(path));
  });
  return child.wait();
}

}  // namespace

TEST_CASE("Every stop signal leaves a checkpoint, and what goes on is bit-equal", "[stop]") {
  const SmallRunFolder small(kSteps);
  const auto path = [&](const std::string& output) { return (small.folder / output).string(); };
  REQUIRE(train_on(small, "whole") == kExitFinished);
  const std::array<std::pair<int, std::string>, 6> signals = {{{SIGTERM, "SIGTERM"},
                                                               {SIGINT, "SIGINT"},
                                                               {SIGHUP, "SIGHUP"},
                                                               {SIGUSR1, "SIGUSR1"},
                                                               {SIGUSR2, "SIGUSR2"},
                                                               {SIGXCPU, "SIGXCPU"}}};
  for (const auto& [signal, name] : signals) {
    INFO(name);
    CHECK(train_and_raise(small, name, kStoppedStep, signal) ==
          "stopped by " + name + " after step 7");
    CHECK(read_run(path(name) + "/run.h5").state == RunState::interrupted);
    CHECK(checkpoint_steps(path(name)) == std::vector<std::int64_t>{kStoppedStep});
  }
  REQUIRE(train_on(small, "SIGXCPU") == kExitFinished);
  check_same_end(path("whole"), path("SIGXCPU"));
}

// The evaluation of step 8 is left out by the signal, and made up for by the process that goes on.
TEST_CASE("A stop during an evaluation does not wait for it", "[stop]") {
  const SmallRunFolder small(kSteps);
  REQUIRE(train_on(small, "whole") == kExitFinished);
  for (const std::int64_t at : {std::int64_t{8}, kSteps}) {
    const auto output = fmt::format("stopped-{}", at), folder = (small.folder / output).string();
    CHECK(train_and_raise(small, output, at, SIGUSR1) ==
          fmt::format("stopped by SIGUSR1 after step {}", at));
    CHECK(read_run(folder + "/run.h5").evaluations.back().step < at);
    REQUIRE(train_on(small, output) == kExitFinished);
    check_same_end((small.folder / "whole").string(), folder);
  }
}

TEST_CASE("The first signal says what happens, a second of a person's quits at once", "[stop]") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto once = errors_of([&](const auto&) {
      install_stop_handlers("product");
      std::raise(signal);
      if (!stop_requested()) ::_exit(9);
    });
    CHECK(once.exit_code == 0);
    CHECK_THAT(once.text, Contains(": stopping after this product; again to quit\n"));
    const auto twice = errors_of([&](const auto&) {
      install_stop_handlers("product");
      std::raise(signal);
      std::raise(signal);
    });
    CHECK(twice.exit_code == -signal);
  }
}

TEST_CASE("Signals that repeat themselves stop a run once", "[stop]") {
  const auto result = errors_of([](const auto&) {
    install_stop_handlers("step");
    for (const int signal : {SIGXCPU, SIGXCPU, SIGHUP, SIGHUP, SIGUSR1, SIGUSR1, SIGUSR2}) {
      std::raise(signal);
    }
    if (stop_signal_name() != "SIGXCPU") ::_exit(9);
  });
  CHECK(result.exit_code == 0);
  CHECK(result.text == "blockwise: SIGXCPU: stopping after this step\n");
}

TEST_CASE("Under nohup a run outlives its terminal", "[stop]") {
  const auto result = errors_of([](const auto&) {
    ::signal(SIGHUP, SIG_IGN);
    install_stop_handlers("step");
    std::raise(SIGHUP);
    if (stop_requested()) ::_exit(9);
    std::raise(SIGUSR1);
    if (!stop_requested()) ::_exit(9);
  });
  CHECK(result.exit_code == 0);
}

// The shell fragment waits for the run's file and becomes the program with the same process.
TEST_CASE("A stopped program exits with its own code and names the signal and what goes on",
          "[stop]") {
  const SmallRunFolder small(1'000'000'000);
  const auto file = (small.folder / "run/run.h5").string();
  const auto result =
      small.run({"train", "--set", "trainer.checkpoint_every=0", "--set", "trainer.threads=1"},
                "{ (until [ -s '" + file + "' ]; do sleep 0.05; done; kill -USR2 $$) & };");
  CHECK(result.exit_code == kExitInterrupted);
  CHECK_THAT(result.output, Contains("Stopped by SIGUSR2. This goes on:") &&
                                Contains(" train " + small.config) &&
                                Contains("--set trainer.checkpoint_every=0"));
  CHECK_THAT(result.errors, Contains("blockwise: SIGUSR2: stopping after this step\n"));
  CHECK(checkpoint_steps(small.folder / "run").back() == read_run(file).last_step);
}

TEST_CASE("The help lists the exit codes", "[stop]") {
  CHECK_THAT(run_program({"--help"}).output,
             Contains("Exit codes: 0 finished, 1 failed, 2 bad input, 3 diverged, 4 interrupted."));
  CHECK(exit_code_of(RunState::finished) == 0);
  CHECK(exit_code_of(RunState::failed) == 1);
  CHECK(exit_code_of(RunState::diverged) == 3);
  CHECK(exit_code_of(RunState::interrupted) == 4);
  CHECK(exit_code_of(RunState::running) == 1);
}
