// Sweeps that go on: more members, members whose folders are gone, members that another process
// has, members that fail.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.hpp"
#include "core/io/folder_lock.hpp"
#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/sweeps/member_process.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

const std::string kSweep = R"(sweep:
  seeds: [1]
  parameters:
    optimizer.learning_rate: {values: [1.0e-2, 2.0e-2]}
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
)";

struct Prepared : SmallSweep {
  Prepared() : SmallSweep(4, kSweep) {}
};

const std::string kFirst = "adamw-lr1.0e-2-s1", kSecond = "adamw-lr2.0e-2-s1";

// Until the background process brought something about; fails after a minute, which no such thing
// takes on a busy machine.
template <typename Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    ::usleep(10'000);
  }
  return false;
}

int exit_code_of(pid_t process) {
  int status = 0;
  ::waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("A sweep grows by seeds, rates and groups and runs only what is missing") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto kept = fs::last_write_time(p.run_file(kFirst));
  const auto more =
      p.sweep({"--set", "sweep.seeds=[1, 2]", "--set",
               "sweep.parameters={optimizer.learning_rate: {values: [1.0e-2, 2.0e-2, 4.0e-2]}}"});
  INFO(more.errors);
  CHECK(more.exit_code == 0);
  CHECK_THAT(more.output, Contains(sweep_counts(6)));
  CHECK(p.finished("adamw-lr4.0e-2-s2"));
  const auto group = p.sweep(
      {"--set", "sweep.seeds=[1, 2]", "--set",
       "sweep.parameters={optimizer.learning_rate: {values: [1.0e-2, 2.0e-2, 4.0e-2]}}", "--set",
       "sweep.groups=[{name: adamw, set: {optimizer.rule: adamw}}, {name: mini, set: "
       "{optimizer.rule: adam_mini}}]"});
  CHECK_THAT(group.output, Contains(sweep_counts(12)));
  CHECK(fs::last_write_time(p.run_file(kFirst)) == kept);
  const auto manifest = nlohmann::json::parse(read_text_file(p.folder / "run/manifest.json"));
  CHECK(manifest["members"].size() == 12);
  CHECK(!manifest.contains("left_out"));
}

TEST_CASE("A sweep changes nothing that defines the members that it has") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto result = p.sweep({"--set", "optimizer.beta2=0.9", "--set", "sweep.seeds=[1, 2]"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("manifest.json: the member 'adamw-lr1.0e-2-s1'") &&
                                Contains(": optimizer.beta2 is 0.95 there and 0.9 here") &&
                                Contains("another `output`"));
  CHECK(!fs::exists(p.member("adamw-lr1.0e-2-s2")));
}

TEST_CASE("What a sweep's file has no more is named, left out, counted, and taken back") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  const auto kept = fs::last_write_time(p.run_file(kSecond));
  const auto less =
      p.sweep({"--set", "sweep.parameters={optimizer.learning_rate: {values: [1.0e-2]}}"});
  CHECK_THAT(less.output, Contains(sweep_counts(1)));
  CHECK_THAT(less.errors,
             Contains("1 members of") && Contains("no longer in the file: " + kSecond));
  const auto report = p.report();
  CHECK_THAT(report.output, Contains("adamw: 1 configurations that ran are no longer"));
  const auto json =
      nlohmann::json::parse(run_program({"report", (p.folder / "run").string(), "--json"}).output);
  CHECK(json["configurations"].size() == 1);
  CHECK(json["groups"][0]["configurations"] == 2);
  const auto back = p.sweep();
  CHECK_THAT(back.output, Contains(sweep_counts(2)));
  CHECK_THAT(back.errors, !Contains("no longer"));
  CHECK(fs::last_write_time(p.run_file(kSecond)) == kept);
}

TEST_CASE("A member whose folder is gone, empty or without config.yaml is written again and run") {
  const Prepared p;
  REQUIRE(p.sweep().exit_code == 0);
  fs::remove_all(p.member(kFirst));
  const auto is_made_again = [&] {
    const auto result = p.sweep();
    INFO(result.errors);
    CHECK_THAT(result.output, Contains(sweep_counts(2)));
    CHECK(p.finished(kFirst));
  };
  SECTION("gone") { is_made_again(); }
  SECTION("empty") {
    fs::create_directories(p.member(kFirst));
    is_made_again();
  }
  SECTION("without config.yaml") {
    fs::create_directories(p.member(kFirst));
    write_file_atomically(p.member(kFirst) / "log.txt", "what it said\n");
    is_made_again();
  }
}

TEST_CASE("A member that fails is told with its own last line, and the others go on") {
  const Prepared p;
  REQUIRE(p.sweep({"--dry-run"}).exit_code == 0);
  const auto two_seeds = std::vector<std::string>{"--set", "sweep.seeds=[1, 2]"};
  SECTION("by what it finds in its folder") {
    fs::create_directories(p.member(kFirst));
    write_file_atomically(p.run_file(kFirst), "not a run file");
    const auto result = p.sweep(two_seeds);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.output, Contains(sweep_counts(3, 1)));
    CHECK_THAT(result.errors, Contains(kFirst + ": failed (exit code 2, bad input): ") &&
                                  Contains("not an HDF5 file") && Contains("see ") &&
                                  Contains("log.txt"));
  }
  SECTION("by what cannot be opened") {
    fs::create_directories(p.member(kFirst) / "log.txt");
    const auto result = p.sweep(two_seeds);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.output, Contains(sweep_counts(3, 1)));
    CHECK_THAT(result.errors, Contains(kFirst + ": failed: ") && Contains("Is a directory"));
  }
  // The run file says interrupted, as an earlier process left it; what happens now is a failure.
  SECTION("after it was interrupted") {
    REQUIRE(p.sweep(two_seeds).exit_code == 0);
    auto recorder =
        RunRecorder::resume(p.run_file(kFirst), read_run(p.run_file(kFirst)).config_hash, 4);
    recorder.set_status(RunState::interrupted, "", 4);
    recorder.close();
    fs::remove_all(p.member(kFirst) / "checkpoints");
    write_file_atomically(p.member(kFirst) / "checkpoints", "no folder");
    const auto result = p.sweep(two_seeds);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.output, Contains(sweep_counts(3, 1)));
    CHECK_THAT(result.errors, Contains(kFirst + ": failed (exit code") && !Contains("): ;"));
  }
}

TEST_CASE("A dry run of a sweep checks what the run checks and writes nothing") {
  const Prepared p;
  const auto good = p.run({"sweep", "--dry-run"});
  CHECK(good.exit_code == 0);
  CHECK(good.output == kFirst + "\n" + kSecond + "\n");
  CHECK_THAT(good.errors, Contains("2 members, 2 of them new"));
  CHECK(!fs::exists(p.folder / "run"));
  const auto refused = [&](const std::string& assignment, const std::string& why) {
    const auto result = p.run({"sweep", "--dry-run", "--set", assignment});
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.errors, Contains(why));
  };
  refused("sweep.parameters={lr: {values: [1e-3]}}", "did you mean 'optimizer.learning_rate'?");
  refused("sweep.parameters={optimizer.lr: {values: [1e-3]}}", "optimizer.lr: unknown key");
  refused("sweep.parameters={optimizer.learning_rate: {values: [-1]}}", "out of bounds");
  refused("data.train=nowhere.bin", "nowhere.bin: there is no such token file");
  refused("trainer.global_batch_tokens=7", "not a multiple");
  CHECK(!fs::exists(p.folder / "run"));
  REQUIRE(p.sweep().exit_code == 0);
  refused("optimizer.beta2=0.9", "another configuration");
}

TEST_CASE("sweep --output is the folder") {
  const Prepared p;
  const auto elsewhere = p.folder / "else where";
  CHECK(p.sweep({"--output", elsewhere.string()}).exit_code == 0);
  CHECK(read_run(elsewhere / "members" / kFirst / "run.h5").state == RunState::finished);
  CHECK(!fs::exists(p.folder / "run"));
}

TEST_CASE("Two sweeps of one folder share its members") {
  const Prepared p;
  const std::vector<std::string> words = {"sweep", p.config, "--set", "sweep.seeds=[1, 2]"};
  const auto one = start_program(words), two = start_program(words);
  CHECK(exit_code_of(one) == 0);
  CHECK(exit_code_of(two) == 0);
  for (const auto* id :
       {"adamw-lr1.0e-2-s1", "adamw-lr1.0e-2-s2", "adamw-lr2.0e-2-s1", "adamw-lr2.0e-2-s2"}) {
    const auto run = read_run(p.run_file(id));
    CHECK(run.state == RunState::finished);
    CHECK(run.processes.size() == 1);
    CHECK(read_text_file(p.member(id) / "log.txt").find("blockwise:") == std::string::npos);
  }
}

// That of a report, which mends a run file: no sign that somebody runs the member.
TEST_CASE("A folder's lock that somebody holds for a moment is waited for") {
  const Prepared p;
  REQUIRE(run_program({"sweep", p.config, "--dry-run"}).exit_code == 0);
  fs::create_directories(p.member(kFirst));
  LeaseWatch watch;
  {
    const FolderLock lock(p.member(kFirst));
    CHECK(!MemberClaim::take(p.member(kFirst) / "log.txt", watch));
    CHECK(!watch.was_renewed);
  }
  CHECK(MemberClaim::take(p.member(kFirst) / "log.txt", watch));
}

TEST_CASE("A member that another process has is left to it, and taken over where that ends") {
  const Prepared p;
  LeaseWatch watch;
  auto claim = MemberClaim::take(p.member(kFirst) / "log.txt", watch);
  REQUIRE(claim);
  CHECK(!MemberClaim::take(p.member(kFirst) / "log.txt", watch));
  CHECK(watch.was_renewed);
  const auto process = start_program({"sweep", p.config});
  CHECK(comes_true([&] { return p.finished(kSecond); }));
  CHECK(!fs::exists(p.run_file(kFirst)));
  claim.reset();
  CHECK(exit_code_of(process) == 0);
  CHECK(p.finished(kFirst));
}
