// A CUDA grid on one CPU thread. The threads of a block are fibers that run until they wait for
// each other; blocks run one after the other. Finds what depends on the order of threads: a missing
// barrier, threads that wait at different barriers, shared memory that nobody wrote. It does not
// know the device's memory order, its speed, or two blocks at once.
#pragma once

#include <cstddef>
#include <functional>
#include <set>

namespace blockwise::testing::fibers {

enum class Order { ascending, descending, shuffled };

// In which order the threads of a block are run from one barrier to the next.
void set_order(Order order);

// Threads pass the barrier of the block at that line as if it were not there; 0: none.
void skip_barrier(int line);
// Lines of the barriers that blocks have waited at since the program began or they were forgotten.
std::set<int> barrier_lines();
void forget_barrier_lines();

struct Index {
  unsigned x = 1, y = 1, z = 1;
};

// Calls `thread` for every thread of every block of a one-dimensional grid; threads a multiple of
// 32. Shared memory is all ones at the start of a block. Throws std::logic_error where threads wait
// at different barriers, and where one of them has ended.
void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& thread);

// What the stand-in for cuda_runtime.h makes of the device's intrinsics.
const Index& thread_index();
const Index& block_index();
const Index& grid_size();
void wait_for_block(int line);
// Takes what lane (own ^ distance) of the warp gave.
void exchange(void* value, std::size_t size, int distance, int line);

}  // namespace blockwise::testing::fibers
