#include "core/io/lease_keeper.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace blockwise {
namespace {

// Its default action, which nothing here changes, ends the process.
constexpr int kEndingSignal = SIGALRM;

// Signals are for the thread that works.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

timespec time_of(double seconds) {
  const double whole = std::floor(seconds);
  return {static_cast<time_t>(whole), static_cast<long>((seconds - whole) * 1e9)};
}

}  // namespace

LeaseKeeper::LeaseKeeper(Lease lease) : lease_(std::move(lease)) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = kEndingSignal;
  if (::timer_create(CLOCK_BOOTTIME, &event, &timer_) != 0) {
    throw std::runtime_error(fmt::format("no timer for a lease: {}", std::strerror(errno)));
  }
  // Who took it did so a moment ago; from the first renewal on the time is known.
  end_at(boot_seconds() + static_cast<double>(lease_.length().count()) / 3);
  renew();
  const BlockedSignals blocked;  // in the thread, which inherits them
  thread_ = std::thread([this] { keep(); });
}

LeaseKeeper::~LeaseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_one();
  thread_.join();
  ::timer_delete(timer_);
}

void LeaseKeeper::keep() {
  const auto pause = std::chrono::duration<double>(lease_.length()) / 6;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, pause, [this] { return over_; })) renew();
}

// What counts is when a renewal began: it may be on its way for long.
void LeaseKeeper::renew() {
  if (ends_late()) return;
  const double begun = boot_seconds();
  const auto renewal = lease_.renew();
  if (renewal == Lease::Renewal::failed) return;
  if (ends_late()) return;
  const bool is_lost = renewal == Lease::Renewal::lost;
  end_at(is_lost ? begun : begun + static_cast<double>(lease_.length().count()) * 2 / 3);
}

// A timer that is set anew takes its own signal back where that is still on its way, as it is when
// a process wakes from a suspension (Linux 6.13 and later).
bool LeaseKeeper::ends_late() const {
  if (boot_seconds() < end_) return false;
  ::kill(::getpid(), kEndingSignal);
  return true;
}

// A time that has passed is now.
void LeaseKeeper::end_at(double boot_second) {
  end_ = boot_second;
  itimerspec when{};
  when.it_value = time_of(boot_second);
  ::timer_settime(timer_, TIMER_ABSTIME, &when, nullptr);
}

std::unique_ptr<LeaseKeeper> keep_lease_taken_by(std::int64_t process,
                                                 const std::filesystem::path& file) {
  auto lease = Lease::taken_by(process, file);
  if (lease) return std::make_unique<LeaseKeeper>(std::move(*lease));
  ::raise(kEndingSignal);
  return nullptr;
}

bool ended_without_lease(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == kEndingSignal;
}

}  // namespace blockwise
