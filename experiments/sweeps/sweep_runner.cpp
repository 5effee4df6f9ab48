// Members of a sweep as processes: start, follow, stop.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "core/io/lease_keeper.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/sweeps/member_process.hpp"
#include "experiments/sweeps/member_result.hpp"
#include "experiments/sweeps/sweep.hpp"
#include "experiments/terminal/progress.hpp"
#include "experiments/terminal/thread_note.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// How long members that another process runs are left alone before the next look at them, which
// asks the file system about each.
std::chrono::milliseconds between_looks(std::size_t members) {
  const auto pause = std::chrono::milliseconds(10) * static_cast<std::int64_t>(members);
  return std::clamp<std::chrono::milliseconds>(pause, std::chrono::seconds(1),
                                               std::chrono::seconds(20));
}

// How a process ended, where it did not end by itself with 0.
std::string ending_text(int status) {
  if (WIFSIGNALED(status)) return fmt::format(" (signal {})", WTERMSIG(status));
  const int code = WEXITSTATUS(status);
  if (code == kExitFinished) return "";
  const auto text = exit_code_text(code);
  return fmt::format(" (exit code {}{}{})", code, text.empty() ? "" : ", ", text);
}

// Members repeat nothing at a second SIGUSR1: whoever stopped the sweep may have sent them the same
// (a terminal and a scheduler signal all processes), and a second SIGTERM would end them at once.
constexpr int kStopMember = SIGUSR1;

// Somebody else who takes a member over has it from then on; who loses one so often has a file
// system that does not answer, and would lose it for ever.
constexpr int kMostLostLeases = 5;

// What a process that failed said last, or else what the run file says.
std::string failure_text(int status, const std::string& last_line, const RunResult& result) {
  auto why = last_line.empty() ? result.message : last_line;
  if (ended_without_lease(status)) why = fmt::format("lost its lease {} times", kMostLostLeases);
  if (why.empty()) {
    const auto& state = run_state_names()[static_cast<std::size_t>(result.state)];
    why = fmt::format("it said nothing; its run file says {} at step {}", state, result.last_step);
  }
  return fmt::format("failed{}: {}", ending_text(status), why);
}

void restore_config(const SweepManifest& sweep, const SweepMember& member) {
  const auto path = sweep.folder / member.config;
  if (!member.yaml.empty() && !input_exists(path)) write_file_atomically(path, member.yaml);
}

class Runner {
 public:
  Runner(const SweepManifest& sweep, const SweepExecution& execution, const StopQuery& stop)
      : sweep_(sweep),
        execution_(execution),
        stop_(stop),
        threads_(threads_of_member(execution.jobs)) {}

  SweepOutcome run() {
    collect_waiting();
    if (waiting_.empty()) return outcome_;
    Progress progress("sweep " + sweep_.name, total_steps_, steps_taken());
    while (!workers_.empty() || (!waiting_.empty() && !stop_())) {
      if (stop_()) {
        pass_on_stop();
      } else {
        start_members(progress);
      }
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
      const auto result = member_result(sweep_, member);
      if (has_ended(member, result)) {
        count_over(member, result, nullptr);
      } else {
        recorded_steps_[&member] = result.last_step;
        waiting_.push_back(&member);
      }
    }
  }

  // Of all members. What earlier processes took is there from the beginning, and says nothing about
  // the time that is left.
  std::int64_t steps_taken() const {
    std::int64_t taken = done_steps_;
    for (const auto* member : waiting_) taken += recorded_steps_.at(member);
    for (const auto& worker : workers_) {
      taken += std::max(worker.step(), recorded_steps_.at(&worker.member()));
    }
    return taken;
  }

  // As many as there is room for. Those that another process has stay in the queue, or are left to
  // it for good.
  void start_members(Progress& progress) {
    if (Clock::now() < next_look_) return;
    for (std::size_t i = 0; i < waiting_.size() && std::ssize(workers_) < execution_.jobs;) {
      if (start(*waiting_[i], progress) || leave_to_others(*waiting_[i], progress)) {
        waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
    if (waiting_.empty() || std::ssize(workers_) >= execution_.jobs) return;
    next_look_ = Clock::now() + between_looks(waiting_.size());
    if (workers_.empty()) tell_of_others(progress);
  }

  // Only one who lives: where it died, the lease ends and this goes on.
  bool leave_to_others(const SweepMember& member, Progress& progress) {
    if (execution_.others == OthersMembers::leave_alone && watches_[&member].was_renewed) {
      ++outcome_.left_to_others;
      progress.message(fmt::format("{}: left to {}", member.plan.id, holder_of(member)));
      return true;
    }
    return false;
  }

  std::string holder_of(const SweepMember& member) const {
    const auto holder = Lease::holder((sweep_.folder / member.run).parent_path());
    return holder ? holder->text() : "another process";
  }

  void tell_of_others(Progress& progress) {
    if (told_of_others_) return;
    told_of_others_ = true;
    progress.message(fmt::format("{} members are run by another process, the first by {}; waiting",
                                 waiting_.size(), holder_of(*waiting_.front())));
  }

  // Whether this is done with the member, for better or worse.
  bool start(const SweepMember& member, Progress& progress) {
    try {
      auto claim = MemberClaim::take(log_file(sweep_, member), watches_[&member], execution_.lease);
      if (!claim) return false;
      const auto result = member_result(sweep_, member);
      if (has_ended(member, result)) {  // by another process, since this one looked
        count_over(member, result, &progress);
        return true;
      }
      restore_config(sweep_, member);
      workers_.emplace_back(std::move(*claim), sweep_, member, execution_.starter, threads_);
    } catch (const fs::filesystem_error& error) {
      count_failed_start(
          member, fmt::format("{}: {}", error.path1().string(), error.code().message()), progress);
    } catch (const std::exception& error) {
      count_failed_start(member, error.what(), progress);
    }
    return true;
  }

  void pass_on_stop() {
    if (stop_passed_on_) return;
    stop_passed_on_ = true;
    for (const auto& worker : workers_) worker.signal(kStopMember);
  }

  void follow(Progress& progress) {
    std::vector<pollfd> pipes;
    for (const auto& worker : workers_) pipes.push_back({worker.pipe(), POLLIN, 0});
    if (::poll(pipes.data(), pipes.size(), 200) <= 0) return;
    for (std::size_t i = pipes.size(); i-- > 0;) {
      if (pipes[i].revents == 0 || workers_[i].read_progress()) continue;
      end(workers_[i], progress);
      workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  // Whether a process that left no result was stopped and did not fail; one that a signal ended may
  // have got it before it could answer.
  bool was_stopped(int status) const {
    if (WIFSIGNALED(status)) return stop_();
    return WEXITSTATUS(status) == kExitInterrupted;
  }

  // What is recorded counts, not how the process ended; that only where nothing is.
  void end(const MemberProcess& worker, Progress& progress) {
    const int status = worker.wait();
    const auto& member = worker.member();
    const auto result = member_result(sweep_, member);
    if (has_ended(member, result)) return count_over(member, result, &progress);
    if (ended_without_lease(status) && ++lost_leases_[member.plan.id] < kMostLostLeases) {
      return wait_again(member, progress);
    }
    done_steps_ += stop_() ? worker.step() : member.steps;
    if (was_stopped(status)) {
      ++outcome_.unfinished;
      return;
    }
    count_failed(member, failure_text(status, worker.last_line(), result), progress);
  }

  // Somebody else has it now, or the file system did not answer for too long.
  void wait_again(const SweepMember& member, Progress& progress) {
    progress.message(fmt::format("{}: lost its lease, and with it what it did since its checkpoint",
                                 member.plan.id));
    waiting_.push_back(&member);
  }

  void count_over(const SweepMember& member, const RunResult& result, Progress* progress) {
    done_steps_ += member.steps;
    const bool finished = result.state == RunState::finished;
    ++(finished ? outcome_.finished : outcome_.diverged);
    if (progress == nullptr) return;
    progress->message(fmt::format("{}: {}", member.plan.id, words_of_end(result)));
  }

  static std::string words_of_end(const RunResult& result) {
    if (result.state == RunState::diverged) return "diverged: " + result.message;
    if (result.evaluations.empty()) return "finished";
    return fmt::format("validation loss {:.4f}", result.evaluations.back().loss);
  }

  void count_failed_start(const SweepMember& member, const std::string& why, Progress& progress) {
    done_steps_ += member.steps;
    count_failed(member, "failed: " + why, progress);
  }

  void count_failed(const SweepMember& member, const std::string& what, Progress& progress) {
    ++outcome_.failed;
    progress.message(
        fmt::format("{}: {}; see {}", member.plan.id, what, log_file(sweep_, member).string()));
  }

  void show(Progress& progress) const {
    double rate = 0.0;
    std::string running;
    for (const auto& worker : workers_) {
      rate += worker.tokens_per_second();
      running += (running.empty() ? "" : ", ") + worker.member().plan.id;
      if (worker.loss()) running += fmt::format(" {:.3f}", *worker.loss());
    }
    const bool idle = workers_.empty();
    progress.update(steps_taken(),
                    idle ? "" : fmt::format("{:.1f}k tok/s | {}", rate / 1000.0, running));
  }

  const SweepManifest& sweep_;
  const SweepExecution& execution_;
  const StopQuery& stop_;
  std::int64_t threads_;
  std::vector<const SweepMember*> waiting_;
  std::map<const SweepMember*, LeaseWatch> watches_;
  std::map<const SweepMember*, std::int64_t> recorded_steps_;  // when the sweep began
  std::vector<MemberProcess> workers_;
  std::int64_t total_steps_ = 0;
  std::int64_t done_steps_ = 0;
  Clock::time_point next_look_{};
  bool told_of_others_ = false;
  bool stop_passed_on_ = false;
  std::map<std::string, int> lost_leases_;  // by member
  SweepOutcome outcome_;
};

}  // namespace

SweepOutcome run_sweep(const SweepManifest& sweep, const SweepExecution& execution,
                       const StopQuery& stop) {
  return Runner(sweep, execution, stop).run();
}

}  // namespace blockwise
