// Renews a lease while its work goes on, and ends the process that no longer has it.
#pragma once

#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include "core/io/lease.hpp"

namespace blockwise {

// A thread renews every sixth of the lease's length. Where the lease is lost, or two thirds of its
// length go by without a renewal that arrived (the file system hangs, the machine was suspended),
// the system ends this process with SIGALRM: nothing of it may be written any more, and what it
// has written is whole, as after any kill. One in a process.
class LeaseKeeper {
 public:
  // Throws std::runtime_error where the system gives no timer.
  explicit LeaseKeeper(Lease lease);
  // Gives the lease back where it was taken here.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

 private:
  void keep();
  void renew();
  void end_at(double boot_second);
  bool ends_late() const;

  Lease lease_;
  timer_t timer_{};
  double end_ = 0.0;  // when it ends this process, by the clock that a suspension does not stop
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;  // last: it uses the others
};

// Keeps the lease that another process of this machine has taken for this one. Ends this process as
// above where that has lost it already.
std::unique_ptr<LeaseKeeper> keep_lease_taken_by(std::int64_t process,
                                                 const std::filesystem::path& file);

// Whether a process, by its status from waitpid(), ended because it had no lease any more.
bool ended_without_lease(int status);

}  // namespace blockwise
