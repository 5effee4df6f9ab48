#include "tests/optimizers/kernels/fibers/thread_block.hpp"

#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

// The section that holds what is __shared__; the linker names its ends.
extern "C" {
__attribute__((weak)) extern char __start_cuda_shared[];
__attribute__((weak)) extern char __stop_cuda_shared[];
}

namespace blockwise::testing::fibers {
namespace {

constexpr unsigned kWarp = 32;
constexpr std::size_t kStack = 128 << 10;

// The compiler's own jumps: libc's would let the address sanitizer look through its whole shadow
// stack.
using Context = void* [5];

[[noreturn, gnu::noipa]] void jump(Context& to) { __builtin_longjmp(to, 1); }

enum class Wait { nothing, warp, block, end };

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t start;
  Context context;
  Wait wait = Wait::end;
  int line = 0;
  unsigned exchanges = 0;
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<unsigned> order;
  Context scheduler;
  ucontext_t scheduler_start;
  unsigned current = 0;
  Index thread_index, block, grid_size;
  const std::function<void()>* thread = nullptr;
  // What lanes gave; two, as a lane may give the next before its neighbour took the last.
  std::vector<char> given[2];
  Order wanted = Order::ascending;
  int skipped = 0;
  std::set<int> lines;
};

Machine machine;

constexpr std::size_t kLargest = sizeof(double);

// A jump keeps no registers, so each of the three places where one arrives is a function of its own
// that has nothing else in them, and of which its callers assume nothing.
[[gnu::noipa]] void enter(Fiber& fiber) {
  if (__builtin_setjmp(machine.scheduler) == 0) jump(fiber.context);
}

[[gnu::noipa]] void leave_to_scheduler(Fiber& fiber) {
  if (__builtin_setjmp(fiber.context) == 0) jump(machine.scheduler);
}

[[gnu::noipa]] void wait_for_first_block(Fiber& fiber) {
  if (__builtin_setjmp(fiber.context) == 0) swapcontext(&fiber.start, &machine.scheduler_start);
}

void leave(Wait wait, int line) {
  auto& fiber = *machine.fibers[machine.current];
  fiber.wait = wait;
  fiber.line = line;
  leave_to_scheduler(fiber);
}

// A fiber lives as long as the program and runs a thread of one block after the other.
void live() {
  wait_for_first_block(*machine.fibers[machine.current]);
  for (;;) {
    (*machine.thread)();
    leave(Wait::end, 0);
  }
}

void make_fibers(unsigned count) {
  while (machine.fibers.size() < count) {
    machine.current = unsigned(machine.fibers.size());
    auto& fiber = *machine.fibers.emplace_back(std::make_unique<Fiber>());
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = kStack;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, live, 0);
    swapcontext(&machine.scheduler_start, &fiber.start);
  }
}

void make_order(unsigned count) {
  machine.order.resize(count);
  std::iota(machine.order.begin(), machine.order.end(), 0u);
  if (machine.wanted == Order::descending) std::ranges::reverse(machine.order);
  if (machine.wanted == Order::shuffled) {
    std::mt19937 random(machine.block.x + 1);
    std::ranges::shuffle(machine.order, random);
  }
}

void run_until_all_wait() {
  for (const auto i : machine.order) {
    auto& fiber = *machine.fibers[i];
    if (fiber.wait != Wait::nothing) continue;
    machine.current = i;
    machine.thread_index.x = i;
    enter(fiber);
  }
}

// Whether threads [begin, end) wait for the same.
bool agree(unsigned begin, unsigned end) {
  const auto& first = *machine.fibers[begin];
  return std::all_of(machine.fibers.begin() + begin, machine.fibers.begin() + end,
                     [&](const auto& f) { return f->wait == first.wait && f->line == first.line; });
}

void release(unsigned begin, unsigned end) {
  for (auto i = begin; i < end; ++i) machine.fibers[i]->wait = Wait::nothing;
}

// Lets the warps go that have met; returns whether there was one.
bool release_warps(unsigned threads) {
  bool released = false;
  for (unsigned warp = 0; warp < threads; warp += kWarp) {
    if (!agree(warp, warp + kWarp))
      throw std::logic_error("lanes of a warp wait for each other at different places");
    if (machine.fibers[warp]->wait != Wait::warp) continue;
    release(warp, warp + kWarp);
    released = true;
  }
  return released;
}

void run_block(unsigned threads) {
  std::memset(__start_cuda_shared, 0xff, std::size_t(__stop_cuda_shared - __start_cuda_shared));
  make_order(threads);
  release(0, threads);
  for (;;) {
    run_until_all_wait();
    if (release_warps(threads)) continue;
    if (!agree(0, threads)) throw std::logic_error("threads of a block wait at different barriers");
    if (machine.fibers[0]->wait == Wait::end) return;
    release(0, threads);
  }
}

}  // namespace

void set_order(Order order) { machine.wanted = order; }
void skip_barrier(int line) { machine.skipped = line; }
std::set<int> barrier_lines() { return machine.lines; }
void forget_barrier_lines() { machine.lines.clear(); }

void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& thread) {
  if (threads == 0 || threads % kWarp != 0) throw std::logic_error("threads in whole warps");
  make_fibers(threads);
  machine.thread = &thread;
  machine.grid_size = {blocks, 1, 1};
  for (auto& given : machine.given) given.resize(threads * kLargest);
  try {
    for (unsigned block = 0; block < blocks; ++block) {
      machine.block = {block, 0, 0};
      run_block(threads);
    }
  } catch (...) {
    machine.fibers.clear();  // they wait in the midst of that block
    throw;
  }
}

const Index& thread_index() { return machine.thread_index; }
const Index& block_index() { return machine.block; }
const Index& grid_size() { return machine.grid_size; }

void wait_for_block(int line) {
  machine.lines.insert(line);
  if (line != machine.skipped) leave(Wait::block, line);
}

void exchange(void* value, std::size_t size, int distance, int line) {
  if (size > kLargest) throw std::logic_error("a value of at most 8 bytes");
  const auto self = machine.current;
  auto& given = machine.given[machine.fibers[self]->exchanges++ % 2];
  std::memcpy(&given[self * kLargest], value, size);
  leave(Wait::warp, line);
  std::memcpy(value, &given[(self ^ unsigned(distance)) * kLargest], size);
}

}  // namespace blockwise::testing::fibers
