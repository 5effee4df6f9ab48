// A run in a process of its own in which one call fails, or before which it is killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/faults/shim/fault_shim.hpp"

namespace blockwise::testing {

struct FaultyResult {
  int exit_code = -1;  // -signal where a signal ended it
  std::int64_t calls = 0;
  std::string errors;  // standard error
};

// Forks; in the child faults are injected under `under`, and `work` returns the exit code.
FaultyResult run_with_fault(FaultKind kind, std::int64_t at, const std::filesystem::path& under,
                            const std::function<int()>& work);

// The program with these arguments, in that child: LibTorch is loaded already.
std::function<int()> program_with(std::vector<std::string> arguments);

// Which calls of `count` are tried: eight or so, spread over all of them, or as many as the
// environment says: BLOCKWISE_FAULTS=10000 tries every one.
std::vector<std::int64_t> tried_calls(std::int64_t count);

}  // namespace blockwise::testing
