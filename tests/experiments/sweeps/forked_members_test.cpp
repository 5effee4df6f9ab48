// Members as copies of a process: how they start and end, and what they have of it.
#include "experiments/sweeps/forked_members.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <thread>

#include "core/io/input_file.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using testing::SmallRunFolder;
using testing::TemporaryFolder;
using Words = std::vector<std::string>;

std::ptrdiff_t open_descriptors() {
  const fs::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

// Whether the signal is blocked, or ignored.
bool is_held_back(int number) {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  struct sigaction action {};
  sigaction(number, nullptr, &action);
  return sigismember(&blocked, number) == 1 || action.sa_handler == SIG_IGN;
}

// What members do here, by their first word.
int do_word(const Words& words) {
  if (words[0] == "say") {
    std::printf("output %s\n", words[1].c_str());
    std::fprintf(stderr, "errors %s\n", words[1].c_str());
    return 0;
  }
  if (words[0] == "exit") return std::stoi(words[1]);
  if (words[0] == "descriptors") return static_cast<int>(open_descriptors());
  if (words[0] == "signals") return is_held_back(SIGTERM) || is_held_back(SIGUSR1) ? 1 : 0;
  for (;;) ::pause();
}

// Files for a member's output.
struct Outputs {
  TemporaryFolder folder;
  int output = open("output"), log = open("log");

  ~Outputs() {
    ::close(output);
    ::close(log);
  }
  int open(const char* name) const {
    return ::open((folder / name).c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  }
  std::string text(const char* name) const { return read_text_file(folder / name); }
};

int status_of(MemberStarter& starter, const Outputs& files, const Words& words) {
  return starter.wait(starter.start(words, files.output, files.log));
}

}  // namespace

TEST_CASE("Forked members: words, output and exit codes arrive") {
  const Outputs files;
  ForkedMembers members(do_word);
  CHECK(status_of(members, files, {"say", "two words"}) == 0);
  CHECK(files.text("output") == "output two words\n");
  CHECK(files.text("log") == "errors two words\n");
  const auto status = status_of(members, files, {"exit", "3"});
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 3));
}

TEST_CASE("Forked members: several at once, and each can be stopped by its own number") {
  const Outputs files;
  ForkedMembers members(do_word);
  const auto one = members.start({"wait"}, files.output, files.log);
  const auto two = members.start({"wait"}, files.output, files.log);
  CHECK(one != two);
  ::kill(two, SIGTERM);
  const auto status = members.wait(two);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM));
  CHECK(::kill(one, 0) == 0);
  ::kill(one, SIGKILL);
  CHECK(WTERMSIG(members.wait(one)) == SIGKILL);
}

TEST_CASE("Forked members: no descriptor and no signal mask of the process between is left") {
  const auto own = open_descriptors();
  const Outputs files;  // two more, which a member has as its output only
  ForkedMembers members(do_word);
  CHECK(WEXITSTATUS(status_of(members, files, {"descriptors"})) == own + 2);
  CHECK(WEXITSTATUS(status_of(members, files, {"signals"})) == 0);
}

// Whoever holds the write end of a pipe ends before its reader sees the end.
TEST_CASE("Forked members: the process between ends with the one that made it, killed or not") {
  for (const int signal : {0, SIGKILL}) {
    int pipe[2];
    REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    const pid_t maker = ::fork();
    if (maker == 0) {
      ::close(pipe[0]);
      {
        const ForkedMembers members(do_word);
        if (signal > 0) ::raise(signal);
      }
      ::_exit(0);
    }
    ::close(pipe[1]);
    char byte;
    CHECK(::read(pipe[0], &byte, 1) == 0);
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(maker, &status, 0);
    CHECK((signal == 0 ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == signal));
  }
}

TEST_CASE("Forked members: a command line that is too long is refused") {
  const Outputs files;
  ForkedMembers members(do_word);
  CHECK_THROWS_AS(members.start({"say", std::string(1 << 16, 'x')}, files.output, files.log),
                  std::runtime_error);
  CHECK(WEXITSTATUS(status_of(members, files, {"exit", "5"})) == 5);
}

TEST_CASE("Whether a process has one thread is what the system says") {
  const pid_t child = ::fork();
  if (child == 0) {
    bool right = has_one_thread();
    std::atomic<bool> go_on{false};
    std::thread other([&] { go_on.wait(false); });
    right = right && !has_one_thread();
    go_on = true;
    go_on.notify_one();
    other.join();
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("A member of a sweep computes the bits of the same run alone") {
  const SmallRunFolder run(6, "sweep: {seeds: [1]}\n");
  REQUIRE(run.run({"sweep"}).exit_code == 0);
  const auto member = run.folder / "run/members/run-s1";
  const auto alone = (run.folder / "alone").string();
  REQUIRE(testing::run_program({"train", (member / "config.yaml").string(), "--output", alone})
              .exit_code == 0);
  const auto one = read_run(member / "run.h5"), other = read_run(fs::path(alone) / "run.h5");
  REQUIRE(one.steps.size() == 6);
  REQUIRE(other.steps.size() == 6);
  for (std::size_t i = 0; i < one.steps.size(); ++i) {
    CHECK(one.steps[i].loss == other.steps[i].loss);
    CHECK(one.steps[i].gradient_norm == other.steps[i].gradient_norm);
    CHECK(one.steps[i].update_norm == other.steps[i].update_norm);
  }
  CHECK(one.evaluations.back().loss == other.evaluations.back().loss);
}

}  // namespace blockwise
