// Leases between processes; another machine is a claim whose kernel was started at another time.
#include "core/io/lease.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/lease_keeper.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Contains;
namespace fs = std::filesystem;

namespace {

constexpr auto kShort = std::chrono::seconds(Lease::kShortest);

std::optional<Lease> take(const TemporaryFolder& folder, LeaseWatch& watch) {
  return Lease::take(folder.path(), watch, LocalHolders::unknown, kShort);
}

std::optional<Lease> take(const TemporaryFolder& folder) {
  LeaseWatch watch;
  return take(folder, watch);
}

// The claim of a machine that will not answer any more.
void write_foreign_claim(const fs::path& file, int renewals = 0) {
  write_file_atomically(file, fmt::format(R"({{"boot":"another","host":"node7","lease_seconds":3,)"
                                          R"("process":5,"since":"then","renewals":{:>12}}})"
                                          "\n",
                                          renewals));
}

void let_time_pass(LeaseWatch& watch, double seconds) { watch.unchanged -= seconds; }

}  // namespace

TEST_CASE("A lease is one process's, says whose, and leaves nothing behind") {
  const TemporaryFolder folder;
  {
    const auto lease = take(folder);
    REQUIRE(lease);
    CHECK(lease->file() == folder / "claim-1.json");
    CHECK(lease->length() == kShort);
    CHECK(!take(folder));
    const auto holder = Lease::holder(folder.path());
    REQUIRE(holder);
    CHECK(holder->process == ::getpid());
    CHECK(!holder->host.empty());
    CHECK_THAT(holder->text(), Contains(fmt::format("(process {}) since 20", ::getpid())));
  }
  CHECK(fs::is_empty(folder.path()));
  CHECK(!Lease::holder(folder.path()));
}

TEST_CASE("A lease is taken over once it was seen unchanged for its length, not before") {
  const TemporaryFolder folder;
  write_foreign_claim(folder / "claim-4.json");
  LeaseWatch watch;
  CHECK(!take(folder, watch));
  let_time_pass(watch, 2.9);
  CHECK(!take(folder, watch));
  CHECK(!watch.was_renewed);
  let_time_pass(watch, 0.1);
  const auto lease = take(folder, watch);
  REQUIRE(lease);
  CHECK(lease->file() == folder / "claim-5.json");
  CHECK(!fs::exists(folder / "claim-4.json"));
}

TEST_CASE("A renewal begins the length anew and shows that the holder lives") {
  const TemporaryFolder folder;
  write_foreign_claim(folder / "claim-1.json");
  LeaseWatch watch;
  CHECK(!take(folder, watch));
  let_time_pass(watch, 10.0);
  write_foreign_claim(folder / "claim-1.json", 1);
  CHECK(!take(folder, watch));
  CHECK(watch.was_renewed);
  let_time_pass(watch, 3.0);
  CHECK(take(folder, watch));
}

TEST_CASE("A lease's own renewals are seen, and overwrite one another") {
  const TemporaryFolder folder;
  auto lease = take(folder);
  REQUIRE(lease);
  LeaseWatch watch;
  CHECK(!take(folder, watch));
  const auto bytes = fs::file_size(lease->file());
  for (int i = 0; i < 12; ++i) CHECK(lease->renew() == Lease::Renewal::done);
  CHECK(fs::file_size(lease->file()) == bytes);
  CHECK_THAT(read_text_file(lease->file()), Contains("\"renewals\":          12}"));
  let_time_pass(watch, 10.0);
  CHECK(!take(folder, watch));
  CHECK(watch.was_renewed);
}

TEST_CASE("A holder of this machine that is known to be gone is not waited for") {
  const TemporaryFolder folder;
  ChildProcess child([&](const auto& say) {
    const auto lease = take(folder);
    say(lease ? "y" : "n");
    ::pause();
  });
  REQUIRE(child.hear() == 'y');
  child.kill();
  LeaseWatch watch;
  CHECK(!take(folder, watch));
  CHECK(Lease::take(folder.path(), watch, LocalHolders::gone, kShort));
  write_foreign_claim(folder / "claim-9.json");
  CHECK(!Lease::take(folder.path(), watch, LocalHolders::gone, kShort));
}

TEST_CASE("Who lost a lease hears it at the next renewal, and leaves the other's alone") {
  const TemporaryFolder folder;
  LeaseWatch watch;
  std::optional<Lease> second;
  {
    auto first = take(folder);
    REQUIRE(first);
    CHECK(!take(folder, watch));
    let_time_pass(watch, 3.0);
    second = take(folder, watch);
    REQUIRE(second);
    CHECK(first->renew() == Lease::Renewal::lost);
  }
  CHECK(second->renew() == Lease::Renewal::done);
  fs::remove(second->file());
  CHECK(second->renew() == Lease::Renewal::lost);
}

TEST_CASE("A folder that was deleted and made again is another one") {
  const TemporaryFolder folder;
  const auto inner = folder / "inner";
  fs::create_directory(inner);
  LeaseWatch watch;
  auto lease = Lease::take(inner, watch, LocalHolders::unknown, kShort);
  REQUIRE(lease);
  fs::remove_all(inner);
  CHECK(lease->renew() == Lease::Renewal::lost);
  fs::create_directory(inner);
  write_foreign_claim(inner / "claim-1.json");
  CHECK(lease->renew() == Lease::Renewal::lost);
  lease.reset();
  CHECK(fs::exists(inner / "claim-1.json"));
}

TEST_CASE("A claim that cannot be read is somebody's for the usual length") {
  for (const auto* text : {"", "{", "[1]", R"({"boot": 3, "lease_seconds": "x", "process": []})"}) {
    INFO(text);
    const TemporaryFolder folder;
    write_file_atomically(folder / "claim-1.json", text);
    LeaseWatch watch;
    CHECK(!take(folder, watch));
    let_time_pass(watch, double(Lease::kLength.count()) - 1.0);
    CHECK(!take(folder, watch));
    let_time_pass(watch, 1.0);
    CHECK(take(folder, watch));
  }
}

TEST_CASE("Other names, and numbers that are none, are no claims") {
  const TemporaryFolder folder;
  for (const auto* name :
       {"claim-.json", "claim-0.json", "claim--3.json", "claim-2x.json", "claim-2",
        "claim-99999999999999999999.json", "claim-1.json.abc.partial"}) {
    write_foreign_claim(folder / name);
  }
  const auto lease = take(folder);
  REQUIRE(lease);
  CHECK(lease->file() == folder / "claim-1.json");
}

TEST_CASE("A claim that cannot be written is an error with its reason") {
  LeaseWatch watch;
  CHECK_THROWS_AS(Lease::take("/proc/self/nowhere", watch, LocalHolders::unknown, kShort),
                  fs::filesystem_error);
}

TEST_CASE("Of many processes that want a lease at once one has it at a time") {
  const TemporaryFolder folder;
  const auto inside = (folder / "inside").string();
  const auto work = [&](const auto& say) {
    for (int round = 0; round < 40;) {
      const auto lease = take(folder);
      if (!lease) continue;
      const int alone = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
      say(alone >= 0 ? "." : "x");
      if (alone >= 0) ::close(alone), ::unlink(inside.c_str());
      ++round;
    }
  };
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int i = 0; i < 4; ++i) children.push_back(std::make_unique<ChildProcess>(work));
  for (auto& child : children) CHECK(child->wait().text == std::string(40, '.'));
}

TEST_CASE("Of many processes that take over an expired lease one gets it") {
  for (int round = 0; round < 20; ++round) {
    const TemporaryFolder folder;
    write_foreign_claim(folder / "claim-1.json");
    LeaseWatch watch;
    CHECK(!take(folder, watch));
    let_time_pass(watch, 3.0);
    const auto work = [&](const auto& say) {
      auto own = watch;
      while (!fs::exists(folder / "begin")) {
      }
      const auto lease = take(folder, own);
      say(lease ? "1" : "0");
      ::usleep(200'000);  // an earlier end would give it to the next one
    };
    std::vector<std::unique_ptr<ChildProcess>> children;
    for (int i = 0; i < 4; ++i) children.push_back(std::make_unique<ChildProcess>(work));
    write_file_atomically(folder / "begin", "");
    std::string won;
    for (auto& child : children) won += child->wait().text;
    CHECK(std::ranges::count(won, '1') == 1);
  }
}

TEST_CASE("Who looked before others took over and gave back does not take what is theirs") {
  const TemporaryFolder folder;
  write_foreign_claim(folder / "claim-1.json");
  LeaseWatch slow;
  CHECK(!take(folder, slow));
  let_time_pass(slow, 3.0);
  write_foreign_claim(folder / "claim-1.json", 1);  // what it has seen is no longer there
  CHECK(!take(folder, slow));
  CHECK(fs::exists(folder / "claim-1.json"));
  CHECK(!fs::exists(folder / "claim-2.json"));
}

TEST_CASE("A kept lease lasts longer than its length, and goes with its keeper") {
  const TemporaryFolder folder;
  ChildProcess child([&](const auto& say) {
    const LeaseKeeper keeper(*take(folder));
    say("y");
    ::sleep(5);
  });
  REQUIRE(child.hear() == 'y');
  LeaseWatch watch;
  for (int i = 0; i < 40; ++i) {
    CHECK(!take(folder, watch));
    ::usleep(100'000);
  }
  CHECK(watch.was_renewed);
  CHECK(child.wait().exit_code == 0);
  CHECK(take(folder, watch));
}

TEST_CASE("A process whose lease is gone ends by itself") {
  const TemporaryFolder folder;
  ChildProcess child([&](const auto& say) {
    const LeaseKeeper keeper(*take(folder));
    say("y");
    ::sleep(60);
  });
  REQUIRE(child.hear() == 'y');
  fs::remove(folder / "claim-1.json");
  CHECK(child.wait().exit_code == -SIGALRM);
}

TEST_CASE("A process that was suspended for longer than its lease ends before it goes on") {
  const TemporaryFolder folder;
  pid_t process = 0;
  ChildProcess child([&](const auto& say) {
    const LeaseKeeper keeper(*take(folder));
    const auto number = fmt::format("{}y", ::getpid());
    say(number);
    ::usleep(100'000);
    for (;;) say("w"), ::usleep(1'000);
  });
  for (char c = child.hear(); c != 'y'; c = child.hear()) process = 10 * process + (c - '0');
  ::kill(process, SIGSTOP);
  ::usleep(2'300'000);
  ::kill(process, SIGCONT);
  CHECK(child.wait().exit_code == -SIGALRM);
}

TEST_CASE("A parent's lease is kept for it, and no stranger's") {
  const TemporaryFolder folder;
  const auto lease = take(folder);
  REQUIRE(lease);
  ChildProcess child([&](const auto& say) {
    const auto keeper = keep_lease_taken_by(::getppid(), lease->file());
    say("y");
  });
  const auto kept = child.wait();
  CHECK(kept.text == "y");
  CHECK(kept.exit_code == 0);
  CHECK(fs::exists(lease->file()));
  write_foreign_claim(folder / "claim-7.json");
  ChildProcess stranger([&](const auto& say) {
    const auto keeper = keep_lease_taken_by(::getppid(), folder / "claim-7.json");
    say("y");
  });
  CHECK(stranger.wait().exit_code == -SIGALRM);
}
