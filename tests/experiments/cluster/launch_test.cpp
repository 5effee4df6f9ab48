// `sweep --launcher slurm` where Slurm's programs are missing, fail, or are scripts that say what a
// cluster would. tests/python/test_slurm.py asks a real one.
#include <fmt/format.h>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

struct FakeCluster : SmallSweep {
  FakeCluster() : SmallSweep(4, "sweep: {seeds: [1, 2, 3]}\n") {
    program("squeue", "cat '" + at("queue") + "'");
    program("scontrol", "echo 'MaxArraySize            = 1001'");
    program("sbatch", "cat > '" + at("script") + "'; echo '77;cluster'");
    write_file_atomically(folder / "queue", "");
  }
  std::string at(const std::string& name) const { return (folder / name).string(); }
  void program(const std::string& name, const std::string& text) const {
    fs::create_directories(folder / "bin");
    const auto path = folder / "bin" / name;
    write_file_atomically(path, "#!/bin/sh\n" + text + "\n");
    fs::permissions(path, fs::perms::owner_all);
  }
  ProgramResult launch(Words more = {}) const {
    more.insert(more.begin(), {"sweep", "--launcher", "slurm"});
    return run(more, "PATH='" + at("bin") + "':/usr/bin:/bin;");
  }
  std::string script() const { return read_text_file(folder / "script"); }
};

}  // namespace

TEST_CASE("Members are submitted once, and again where the queue has them no more") {
  const FakeCluster p;
  const auto first = p.launch({"--jobs", "2", "--json"});
  INFO(first.errors);
  CHECK(first.exit_code == 0);
  CHECK_THAT(first.output, Contains(R"({"submitted":3,"queued":0,"ended":0,"jobs":[77],)"));
  CHECK_THAT(p.script(), Contains("#SBATCH --array=0-2%2\n"));
  CHECK_THAT(p.script(), Contains("members=(\n  run-s1\n  run-s2\n  run-s3\n)\n"));
  write_file_atomically(p.folder / "queue", "77 0\n77 1\n77 2\n12 N/A\n");
  CHECK_THAT(p.launch({"--json"}).output, Contains(R"("submitted":0,"queued":3,"ended":0)"));
  write_file_atomically(p.folder / "queue", "77 1\n");
  REQUIRE(run_program({"sweep", (p.folder / "run").string(), "--member", "run-s3"}).exit_code == 0);
  CHECK(p.finished("run-s3"));
  CHECK_THAT(p.launch({"--json"}).output, Contains(R"("submitted":1,"queued":1,"ended":1)"));
  CHECK_THAT(p.script(), Contains("members=(\n  run-s1\n)\n"));
}

TEST_CASE("Without Slurm's programs one sentence says so, and the script can be printed") {
  const FakeCluster p;
  fs::remove_all(p.folder / "bin");
  const auto launch = [&](const std::vector<std::string>& words) {
    return p.run(words, "PATH='" + p.at("bin") + "';");
  };
  const auto result = launch({"sweep", "--launcher", "slurm"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("no such program in the PATH"));
  const auto script = launch({"sweep", "--launcher", "slurm", "--export-only"});
  CHECK(script.exit_code == 0);
  CHECK(script.output.starts_with("#!/bin/bash\n#SBATCH --job-name="));
  CHECK_THAT(script.output, Contains("#SBATCH --array=0-2\n"));
}

TEST_CASE("What sbatch says where it fails is passed on, and nothing is remembered") {
  const FakeCluster p;
  p.program("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1");
  const auto result = p.launch();
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.errors, Contains("sbatch failed: sbatch: error: invalid partition"));
  CHECK(fs::is_empty(p.folder / "run/slurm"));
  p.program("sbatch", "echo hello");
  CHECK_THAT(p.launch().errors, Contains("sbatch answered 'hello"));
}

TEST_CASE("An array waits for the one before it where the tasks are bounded") {
  const FakeCluster p;
  p.program("scontrol", "echo 'MaxArraySize            = 2'");
  p.program("sbatch", "echo \"$@\" >> '" + p.at("calls") + "'; wc -l < '" + p.at("calls") + "'");
  CHECK_THAT(p.launch({"--jobs", "1", "--json"}).output, Contains(R"("jobs":[1,2])"));
  CHECK(read_text_file(p.folder / "calls") == "--parsable\n--parsable --dependency=afterany:1\n");
}

TEST_CASE("Confirmations are submitted when every member has ended") {
  const FakeCluster p;
  const SmallSweep::Words confirm = {"--set", "sweep.confirm={seeds: [8]}", "--json"};
  CHECK_THAT(p.launch(confirm).output, Contains(R"("submitted":3)"));
  REQUIRE(p.sweep().exit_code == 0);
  CHECK_THAT(p.launch(confirm).output, Contains(R"("submitted":1,"queued":0,"ended":0)"));
  CHECK_THAT(p.script(), Contains("members=(\n  run-s8\n)\n"));
  REQUIRE(run_program({"sweep", (p.folder / "run").string(), "--member", "run-s8"}).exit_code == 0);
  CHECK_THAT(p.launch(confirm).output, Contains(R"("submitted":0,"queued":0,"ended":1)"));
}

TEST_CASE("A member that there is not, and flags that do not go together, are refused") {
  const FakeCluster p;
  REQUIRE(p.launch().exit_code == 0);
  const auto run = (p.folder / "run").string();
  const auto missing = run_program({"sweep", run, "--member", "run-s9"});
  CHECK(missing.exit_code == 2);
  CHECK_THAT(missing.errors, Contains("has no member 'run-s9'"));
  CHECK(p.run({"sweep", "--export-only"}).exit_code == 2);
  CHECK(p.launch({"--launcher", "pbs"}).exit_code == 2);
}

TEST_CASE("Keys of sweep.slurm are checked with their place") {
  const SmallSweep p(4, "sweep: {seeds: [1]}\n");
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"time=soon", "sweep.slurm.time: 'soon' is no time limit of Slurm's"},
      {"time=1-", "is no time limit"},
      {"time=1:2:3:4", "is no time limit"},
      {"partition=a b", "sweep.slurm.partition: 'a b' is not one plain word"},
      {"memory=\"8G\\n#SBATCH --nice\"", "is not one plain word"},
      {"cpus=0", "sweep.slurm.cpus"},
      {"stop_seconds=0", "sweep.slurm.stop_seconds"},
      {"options=[qos=long]", "'qos=long' is no option of sbatch"},
      {"options=[--array=1-3]", "--array is the launcher's"},
      {"options=[-p gpu]", "--partition is sweep.slurm.partition"},
      {"options=[\"--x\\n#SBATCH --y\"]", "is no option of sbatch"},
      {"setup=[\"a\\nb\"]", "is not one line"},
      {"partitions=x", "unknown key"}};
  for (const auto& [setting, words] : refused) {
    INFO(setting);
    const auto result = p.run({"sweep", "--dry-run", "--set", "sweep.slurm." + setting});
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains(words));
  }
  for (const auto* time : {"30", "30:00", "4:00:00", "1-12", "1-12:30", "1-12:30:15"}) {
    INFO(time);
    const auto setting = fmt::format("sweep.slurm.time=\"{}\"", time);
    CHECK(p.run({"sweep", "--dry-run", "--set", setting}).exit_code == 0);
  }
}
