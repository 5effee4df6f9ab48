// A piece of a test in a process of its own, for tests that kill it or limit it.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <string>

namespace blockwise::testing {

// What a child that was told to end by itself left: its exit code and what it wrote to `say`.
struct ChildResult {
  int exit_code = -1;
  std::string text;
};

// A forked process that runs `work(say)`; `say` sends text to the parent. An exception becomes its
// text and exit code 1.
class ChildProcess {
 public:
  template <typename Work>
  explicit ChildProcess(Work work) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe failed");
    process_ = ::fork();
    if (process_ == 0) run(work, ends[1]);
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~ChildProcess() {
    if (process_ > 0) kill();
    ::close(pipe_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The next character that the child says; 0 when it has ended.
  char hear() {
    char c = 0;
    return ::read(pipe_, &c, 1) == 1 ? c : '\0';
  }

  void kill() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

  ChildResult wait() {
    ChildResult result;
    for (char c = hear(); c != 0; c = hear()) result.text += c;
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return result;
  }

 private:
  template <typename Work>
  [[noreturn]] static void run(Work& work, int pipe) {
    const auto say = [pipe](const std::string& text) {
      static_cast<void>(!::write(pipe, text.data(), text.size()));
    };
    try {
      work(say);
    } catch (const std::exception& error) {
      say(error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }

  pid_t process_ = -1;
  int pipe_ = -1;
};

// From here on this process can write no file beyond `bytes`: a full disk, as far as it can tell.
inline void limit_file_size(rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

}  // namespace blockwise::testing
