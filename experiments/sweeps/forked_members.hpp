// Members that are copies of a process which has loaded everything and computed nothing yet, so
// that LibTorch, a quarter of a second, is loaded once for a whole sweep.
#pragma once

#include <functional>

#include "experiments/sweeps/member_starter.hpp"

namespace blockwise {

// What a member does with its words; returns its exit code.
using MemberProgram = std::function<int(const std::vector<std::string>& words)>;

// A second process, forked at once, waits for requests and forks each member. It never computes, so
// it has one thread: a process with threads (OpenMP's, LibTorch's) cannot be forked and go on
// computing. It has all signals blocked, which are for the members and for who started it, and ends
// when the other side of its socket closes, however that happens; members then go on, as those of a
// SpawnedMembers do.
class ForkedMembers : public MemberStarter {
 public:
  // To be called before this process has a second thread or opens what members must not have.
  // Throws std::runtime_error where there can be no further process.
  explicit ForkedMembers(const MemberProgram& program);
  ~ForkedMembers() override;
  ForkedMembers(const ForkedMembers&) = delete;
  ForkedMembers& operator=(const ForkedMembers&) = delete;

  pid_t start(const std::vector<std::string>& words, int output, int log) override;
  // Where the second process has ended, what became of a member is not known: exit code 1.
  int wait(pid_t process) override;

 private:
  pid_t server_ = -1;
  int socket_ = -1;
};

// Whether this process has one thread only, as far as the system says (/proc).
bool has_one_thread();

}  // namespace blockwise
