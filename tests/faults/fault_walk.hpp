// Work that changes files, tried with a fault at one of its calls after the other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/faults/shim/fault_shim.hpp"

namespace blockwise::testing {

// What the work leaves that no interruption may change, piece by piece; times and the like are not
// in it.
using Contents = std::map<std::string, std::string>;

struct FaultyWork {
  std::filesystem::path folder;  // calls under it count; it is emptied before every start
  std::function<int()> run;      // in a process of its own; its exit code
  std::function<Contents()> read;
};

// The program with these arguments. The process is a forked one: LibTorch is loaded already.
std::function<int()> program_with(std::vector<std::string> arguments);

class FaultWalk {
 public:
  // Runs the work undisturbed, for what is right. With `stop_at` > 0 every start is one that
  // continues what a process left which was killed at that call.
  explicit FaultWalk(FaultyWork work, std::int64_t stop_at = 0);
  ~FaultWalk();
  FaultWalk(const FaultWalk&) = delete;
  FaultWalk& operator=(const FaultWalk&) = delete;

  std::int64_t calls() const { return calls_; }

  // For some `usual` calls, or those that the environment's BLOCKWISE_FAULTS says (100: as many
  // spread over all, 10000: every one, 760-770: these): the fault leads to a sentence and an exit
  // code other than 0, or to the right contents; the same work once more, undisturbed, to the right
  // contents in every case.
  void walk(FaultKind kind, std::int64_t usual = 8) const;

 private:
  struct End;
  End start(FaultKind kind, std::int64_t at) const;
  void check_end(FaultKind kind, const End& end) const;
  void reset() const;

  FaultyWork work_;
  std::filesystem::path before_;
  std::int64_t calls_ = 0;
  Contents right_;
};

}  // namespace blockwise::testing
