// Loops over values in pieces that begin at multiples of every block of state_codes.hpp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "optimizers/kernels/parallel_loop.hpp"

namespace blockwise::kernels {

inline constexpr std::int64_t kTask = 1 << 14;  // values; a multiple of every block

// Values in blocks of one scale each, the last of which may be shorter.
struct BlockedRun {
  std::int64_t count, block;
};

struct Piece {
  std::int64_t begin, count;
};

// Calls run(begin, count) over [0, n) in pieces that begin at multiples of kTask.
template <typename Run>
void over_tasks(std::int64_t n, const Run& run) {
  const auto tasks = (n + kTask - 1) / kTask;
  parallel_loop(tasks, tasks > 1,
                [&](std::int64_t task) { run(task * kTask, std::min(kTask, n - task * kTask)); });
}

}  // namespace blockwise::kernels
