// What the program writes to, when it is not there, full, taken away or wanted by two.
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

// A script with the program as $B; its exit code.
int shell(const std::string& script) {
  const int status = std::system(("B='" + program_path() + "'; " + script).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void check_one_sentence(const ProgramResult& result, int code) {
  INFO(result.errors);
  CHECK(result.exit_code == code);
  const auto at = result.errors.rfind("blockwise: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::count(result.errors.begin() + static_cast<std::ptrdiff_t>(at), result.errors.end(),
                   '\n') == 1);
  // A sentence of ours, not of a library.
  CHECK(result.errors.find("filesystem error") == std::string::npos);
}

}  // namespace

TEST_CASE("Output: a full disk under the progress lines stops nothing") {
  const SmallRunFolder small(4);
  CHECK(shell("$B train " + small.config + " > /dev/null 2> /dev/full") == 0);
  CHECK(read_run(small.folder / "run/run.h5").state == RunState::finished);
}

TEST_CASE("Output: closed standard streams lead nowhere, not into the run's file") {
  const SmallRunFolder small(4);
  REQUIRE(shell("$B train " + small.config + " --progress-lines <&- >&- 2>&-") == 0);
  const auto run = read_run(small.folder / "run/run.h5");
  CHECK(run.state == RunState::finished);
  CHECK(run.steps.size() == 4);
  const auto bytes = read_text_file(small.folder / "run/run.h5");
  CHECK(bytes.find("progress ") == std::string::npos);
  CHECK(bytes.find("finished after") == std::string::npos);
  CHECK(shell("$B report " + (small.folder / "run").string() + " <&- >&- 2>&-") == 0);
}

TEST_CASE("Output: a limit on file sizes is an error, not a signal") {
  const SmallRunFolder small(60);
  const auto result =
      small.run({"train", "--set", "model.n_embd=64"}, "trap - XFSZ; ulimit -f 40;");
  check_one_sentence(result, 1);
  CHECK_THAT(result.errors, Contains("File too large"));
}

TEST_CASE("Output: a run that is deleted, moved or replaced under way says so") {
  const SmallRunFolder small(100'000);
  const auto run = (small.folder / "run").string();
  const std::string what =
      GENERATE("rm -r $R", "rm $R/run.h5", "mv $R $R-moved", "mv $R/run.h5 $R/other.h5",
               "cp $R/run.h5 $R/x; mv $R/x $R/run.h5");
  INFO(what);
  const auto errors = (small.folder / "err").string();
  const auto code = shell(
      fmt::format("R={}; $B train {} --set trainer.checkpoint_every=0 >/dev/null 2>{} & P=$!; "
                  "while ! [ -e $R/run.h5 ]; do sleep 0.01; done; {}; wait $P",
                  run, small.config, errors, what));
  CHECK(code == 1);
  CHECK_THAT(read_text_file(errors),
             Contains("run.h5: was deleted, moved or replaced by somebody else"));
  CHECK(!fs::exists(fs::path(run) / "checkpoints"));
}

TEST_CASE("Output: of simultaneous starts one runs and the others say so") {
  const SmallRunFolder small(40);
  std::string script;
  for (int i = 0; i < 6; ++i) {
    script +=
        fmt::format("( $B train {} >/dev/null 2>{}/err{}; echo $? > {}/code{} ) & ", small.config,
                    small.folder.path().string(), i, small.folder.path().string(), i);
  }
  REQUIRE(shell(script + "wait") == 0);
  int done = 0;
  for (int i = 0; i < 6; ++i) {
    const auto code = read_text_file(small.folder / fmt::format("code{}", i));
    const auto errors = read_text_file(small.folder / fmt::format("err{}", i));
    INFO(errors);
    if (code == "0\n") {
      ++done;
      continue;
    }
    CHECK(code == "2\n");
    CHECK_THAT(errors, Contains("another process is writing to this folder"));
  }
  CHECK(done >= 1);  // one that came late finds a finished run
  CHECK(read_run(small.folder / "run/run.h5").steps.size() == 40);
}

TEST_CASE("Output: links that were put in the way of partial files are not followed") {
  const SmallRunFolder small(6);
  const auto run = small.folder / "run";
  fs::create_directories(run / "checkpoints");
  fs::create_directories(small.folder / "elsewhere");
  write_file_atomically(small.folder / "victim", "precious");
  fs::create_symlink(small.folder / "victim", run / "config.yaml.partial");
  fs::create_symlink(small.folder / "victim", run / "run.h5.partial");
  fs::create_symlink(small.folder / "elsewhere", run / "checkpoints/step_00000003.partial");
  CHECK(small.run({"train"}).exit_code == 0);
  CHECK(read_text_file(small.folder / "victim") == "precious");
  CHECK(fs::is_empty(small.folder / "elsewhere"));
  CHECK(read_run(run / "run.h5").steps.size() == 6);
  CHECK(checkpoint_steps(run) == std::vector<std::int64_t>{3, 6});
}
