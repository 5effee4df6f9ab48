#include "core/io/trial_process.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

constexpr int kFilling = 0xA5;  // malloc's memory then holds 0x5A, freed memory 0xA5

TrialResult result_of(const std::function<void()>& work) {
  try {
    work();
    return {TrialResult::Kind::done, ""};
  } catch (const InputError& error) {
    return {TrialResult::Kind::input_error, error.what()};
  } catch (const std::exception& error) {
    return {TrialResult::Kind::error, error.what()};
  }
}

// The signals' own ways of ending the process; Ctrl-C is the parent's business.
void reset_signals() {
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGXCPU}) {
    ::signal(number, SIG_DFL);
  }
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(number, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void set_limits(const TrialLimits& limits) {
  // At the second of the two numbers the signal would be SIGKILL, which does not say why.
  const rlimit no_core{0, 0}, computing{limits.computing_seconds, limits.computing_seconds + 5};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setrlimit(RLIMIT_CPU, &computing);
  ::alarm(limits.seconds);
}

// What a dying library prints is no use to a reader.
void silence() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
}

// The kind as a character, then the text. _exit: nothing of the parent's is flushed or closed.
[[noreturn]] void run_child(const std::function<void()>& work, const TrialLimits& limits, int pipe,
                            pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it ended before the line above
  reset_signals();
  set_limits(limits);
  silence();
#ifdef M_PERTURB
  ::mallopt(M_PERTURB, kFilling);
#endif
  const auto result = result_of(work);
  const auto answer =
      fmt::format("{}{}", static_cast<int>(result.kind), result.text.substr(0, PIPE_BUF - 1));
  ::_exit(::write(pipe, answer.data(), answer.size()) < 0 ? 1 : 0);
}

std::string read_all(int pipe) {
  std::string text;
  std::array<char, PIPE_BUF> buffer;
  for (;;) {
    const auto count = ::read(pipe, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

std::string death_text(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) return "no answer";
  }
  if (!WIFSIGNALED(status)) return "no answer";
  const int number = WTERMSIG(status);
  if (number == SIGALRM || number == SIGXCPU) return "no end in sight";
  return fmt::format("signal {} ({})", number, ::strsignal(number));
}

}  // namespace

TrialResult run_trial(const std::function<void()>& work, const TrialLimits& limits) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return result_of(work);
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) run_child(work, limits, ends[1], parent);
  ::close(ends[1]);
  const auto answer = process > 0 ? read_all(ends[0]) : "";
  ::close(ends[0]);
  if (process < 0) return result_of(work);
  const auto death = death_text(process);
  if (answer.empty()) return {TrialResult::Kind::died, death};
  return {static_cast<TrialResult::Kind>(answer[0] - '0'), answer.substr(1)};
}

}  // namespace blockwise
