// Members of a sweep as processes: start, follow, stop.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/device.hpp"
#include "core/error.hpp"
#include "experiments/progress.hpp"
#include "experiments/stop_signal.hpp"
#include "experiments/sweep.hpp"

extern char** environ;

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// One running member: its process and the pipe with its progress lines.
struct Worker {
  const SweepMember* member = nullptr;
  pid_t process = -1;
  int pipe = -1;
  std::string unread;  // a line that has not ended yet
  std::int64_t step = 0;
  double loss = 0.0;
  double tokens_per_second = 0.0;
};

// What a member's file says; a failed state with the reason where there is none or it cannot be
// read.
RunResult result_of(const SweepManifest& sweep, const SweepMember& member) {
  RunResult result;
  result.state = RunState::failed;
  result.message = "it has no run file yet";
  const auto path = sweep.folder / member.run;
  if (!fs::exists(path)) return result;
  try {
    return read_run(path);
  } catch (const InputError& error) {
    result.message = error.what();
    return result;
  }
}

bool is_over(const RunResult& result) {
  return result.state == RunState::finished || result.state == RunState::diverged;
}

// How a process ended, where it did not end by itself with 0.
std::string ending_text(int status) {
  if (WIFSIGNALED(status)) return fmt::format(" (signal {})", WTERMSIG(status));
  const int code = WEXITSTATUS(status);
  return code == 0 ? "" : fmt::format(" (exit code {})", code);
}

std::vector<std::string> command_line(const SweepManifest& sweep, const SweepMember& member,
                                      const std::string& program, std::int64_t threads) {
  return {program,
          "train",
          (sweep.folder / member.config).string(),
          "--threads",
          fmt::format("{}", threads),
          "--progress-lines"};
}

// Standard output goes to a pipe, standard error to the member's log.
Worker start(const SweepManifest& sweep, const SweepMember& member, const std::string& program,
             std::int64_t threads) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  const auto log = log_file(sweep, member);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0666);
  auto words = command_line(sweep, member, program, threads);
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  Worker worker;
  worker.member = &member;
  const int error =
      posix_spawn(&worker.process, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  worker.pipe = ends[0];
  if (error != 0) throw std::runtime_error(fmt::format("{}: {}", program, std::strerror(error)));
  return worker;
}

void parse_line(Worker& worker, const std::string& line) {
  long long step = 0;
  double loss = 0.0, rate = 0.0;
  if (std::sscanf(line.c_str(), "progress %lld %lf %lf", &step, &loss, &rate) != 3) return;
  worker.step = step;
  worker.loss = loss;
  worker.tokens_per_second = rate;
}

// Reads what is there; false at the end of the stream.
bool read_progress(Worker& worker) {
  char buffer[4096];
  const auto count = ::read(worker.pipe, buffer, sizeof(buffer));
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) return false;
  worker.unread.append(buffer, static_cast<std::size_t>(count));
  for (auto end = worker.unread.find('\n'); end != std::string::npos;
       end = worker.unread.find('\n')) {
    parse_line(worker, worker.unread.substr(0, end));
    worker.unread.erase(0, end + 1);
  }
  return true;
}

class Runner {
 public:
  Runner(const SweepManifest& sweep, std::string program, std::int64_t jobs)
      : sweep_(sweep),
        program_(std::move(program)),
        jobs_(jobs),
        threads_(std::max<std::int64_t>(1, available_threads() / jobs)) {}

  SweepOutcome run() {
    collect_waiting();
    if (waiting_.empty()) return outcome_;
    Progress progress("sweep " + sweep_.name, total_steps_, done_steps_);
    while (!workers_.empty() || (!waiting_.empty() && !stop_requested())) {
      while (!stop_requested() && !waiting_.empty() &&
             static_cast<std::int64_t>(workers_.size()) < jobs_) {
        workers_.push_back(start(sweep_, *waiting_.front(), program_, threads_));
        waiting_.erase(waiting_.begin());
      }
      if (stop_requested()) pass_on_stop();
      follow(progress);
      show(progress);
    }
    outcome_.unfinished += static_cast<std::int64_t>(waiting_.size());
    return outcome_;
  }

 private:
  void collect_waiting() {
    for (const auto& member : sweep_.members) {
      total_steps_ += member.steps;
      if (is_over(result_of(sweep_, member))) {
        done_steps_ += member.steps;
        count(member);
      } else {
        waiting_.push_back(&member);
      }
    }
  }

  void pass_on_stop() {
    if (stop_passed_on_) return;
    stop_passed_on_ = true;
    for (const auto& worker : workers_) ::kill(worker.process, SIGTERM);
  }

  void follow(Progress& progress) {
    std::vector<pollfd> pipes;
    for (const auto& worker : workers_) pipes.push_back({worker.pipe, POLLIN, 0});
    if (::poll(pipes.data(), pipes.size(), 200) <= 0) return;
    for (std::size_t i = pipes.size(); i-- > 0;) {
      if (pipes[i].revents == 0 || read_progress(workers_[i])) continue;
      end(workers_[i], progress);
      workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void end(Worker& worker, Progress& progress) {
    ::close(worker.pipe);
    int status = 0;
    while (::waitpid(worker.process, &status, 0) < 0 && errno == EINTR) {
    }
    done_steps_ += stop_requested() ? worker.step : worker.member->steps;
    count(*worker.member, &progress, ending_text(status));
  }

  // Reads the member's own file: what counts is what is recorded, not how the process ended.
  void count(const SweepMember& member, Progress* progress = nullptr,
             const std::string& ending = "") {
    const auto result = result_of(sweep_, member);
    const auto tell = [&](const std::string& what) {
      if (progress != nullptr) progress->message(fmt::format("{}: {}", member.plan.id, what));
    };
    switch (result.state) {
      case RunState::finished:
        ++outcome_.finished;
        tell(fmt::format("validation loss {:.4f}",
                         result.evaluations.empty() ? 0.0 : result.evaluations.back().loss));
        break;
      case RunState::diverged:
        ++outcome_.diverged;
        tell("diverged: " + result.message);
        break;
      case RunState::interrupted:
        ++outcome_.unfinished;
        break;
      default:
        ++outcome_.failed;
        tell(fmt::format("failed{}: {}; see {}", ending, result.message,
                         log_file(sweep_, member).string()));
    }
  }

  void show(Progress& progress) const {
    std::int64_t done = done_steps_;
    double rate = 0.0;
    std::string running;
    for (const auto& worker : workers_) {
      done += worker.step;
      rate += worker.tokens_per_second;
      running += fmt::format("{}{} {:.3f}", running.empty() ? "" : ", ", worker.member->plan.id,
                             worker.loss);
    }
    const bool idle = workers_.empty();
    progress.update(done, idle ? "" : fmt::format("{:.1f}k tok/s | {}", rate / 1000.0, running));
  }

  const SweepManifest& sweep_;
  std::string program_;
  std::int64_t jobs_;
  std::int64_t threads_;
  std::vector<const SweepMember*> waiting_;
  std::vector<Worker> workers_;
  std::int64_t total_steps_ = 0;
  std::int64_t done_steps_ = 0;
  bool stop_passed_on_ = false;
  SweepOutcome outcome_;
};

}  // namespace

fs::path log_file(const SweepManifest& sweep, const SweepMember& member) {
  return sweep.folder / fs::path(member.config).parent_path() / "log.txt";
}

SweepOutcome run_sweep(const SweepManifest& sweep, const std::string& program, std::int64_t jobs) {
  return Runner(sweep, program, jobs).run();
}

}  // namespace blockwise
