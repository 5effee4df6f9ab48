// One member of a sweep as a process: who may run it, and what it said.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/io/lease.hpp"
#include "experiments/sweeps/member_starter.hpp"
#include "experiments/sweeps/sweep_manifest.hpp"

namespace blockwise {

std::filesystem::path log_file(const SweepManifest& sweep, const SweepMember& member);

// The right to run a member. Among processes of this machine it is a lock on the member's log,
// which the process that runs it inherits as its standard error, so it lasts until the last of the
// two ends, in whatever way. Among machines it is a lease (core/io/lease.hpp) in the member's
// folder, which that process renews.
class MemberClaim {
 public:
  // Makes the folder and the log where they are not there. Nothing while another process has the
  // claim, or writes to the folder without one; `watch` is what this process saw of it. Throws
  // std::runtime_error, or std::filesystem::filesystem_error, where the log cannot be opened or the
  // claim cannot be written.
  static std::optional<MemberClaim> take(const std::filesystem::path& log, LeaseWatch& watch,
                                         std::chrono::seconds length = Lease::kLength);
  MemberClaim(MemberClaim&& other) noexcept;
  MemberClaim& operator=(MemberClaim&& other) noexcept;
  ~MemberClaim();

  int log() const { return log_; }
  const std::filesystem::path& lease_file() const { return lease_->file(); }
  // The last line with something in it that the log got since the claim was taken, without the
  // program's name in front; empty where there is none.
  std::string last_line() const;

 private:
  explicit MemberClaim(int log);

  int log_ = -1;
  off_t begin_ = 0;  // where the log ended
  std::optional<Lease> lease_;
};

// A running member.
class MemberProcess {
 public:
  // `blockwise train` of the member's config.yaml. Standard output is a pipe of progress lines.
  // Throws std::runtime_error where it cannot be started. The starter lives longer.
  MemberProcess(MemberClaim claim, const SweepManifest& sweep, const SweepMember& member,
                MemberStarter& starter, std::int64_t threads);
  MemberProcess(MemberProcess&& other) noexcept;
  MemberProcess& operator=(MemberProcess&& other) noexcept;
  ~MemberProcess();

  const SweepMember& member() const { return *member_; }
  int pipe() const { return pipe_; }
  // Reads what is there; false at the end of the stream.
  bool read_progress();
  std::int64_t step() const { return step_; }
  std::optional<double> loss() const { return loss_; }  // once it took a step
  double tokens_per_second() const { return tokens_per_second_; }

  void signal(int number) const;
  int wait() const;  // its status, as waitpid() says it
  std::string last_line() const { return claim_.last_line(); }

 private:
  void parse_line(const std::string& line);

  MemberClaim claim_;
  const SweepMember* member_;
  MemberStarter* starter_;
  pid_t process_ = -1;
  int pipe_ = -1;
  std::string unread_;  // a line that has not ended yet
  std::int64_t step_ = 0;
  std::optional<double> loss_;
  double tokens_per_second_ = 0.0;
};

}  // namespace blockwise
