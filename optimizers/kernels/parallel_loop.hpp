// Loops whose tasks do not write what another one reads or writes.
#pragma once

#include <cstdint>

#ifdef __SANITIZE_THREAD__
#include <thread>
#include <vector>
#elif defined(_OPENMP)
#include <omp.h>
#endif

namespace blockwise::kernels {

#ifdef __SANITIZE_THREAD__

// The thread sanitizer does not see the barriers of the OpenMP runtime and would take every loop
// for a race. With threads that it knows, what it reports is one: two tasks at the same place.
template <typename Task>
void parallel_loop(std::int64_t count, bool threads, const Task& task) {
  const std::int64_t workers = threads ? 3 : 1;
  std::vector<std::thread> running;
  for (std::int64_t worker = 0; worker < workers; ++worker) {
    running.emplace_back([=, &task] {
      for (auto i = worker * count / workers; i < (worker + 1) * count / workers; ++i) task(i);
    });
  }
  for (auto& thread : running) thread.join();
}

#else

// False where the compiler was not asked for OpenMP: the loop below is a serial one there.
inline bool within_parallel_loop() {
#ifdef _OPENMP
  return omp_in_parallel() != 0;
#else
  return false;
#endif
}

// Calls task(i) for i in [0, count), on all threads of the OpenMP runtime where `threads` holds.
// Elsewhere, and within such a loop, the runtime is not asked: a team of one thread costs it as
// much as a small tensor's step.
template <typename Task>
void parallel_loop(std::int64_t count, bool threads, const Task& task) {
  if (!threads || within_parallel_loop()) {
    for (std::int64_t i = 0; i < count; ++i) task(i);
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) task(i);
}

#endif

}  // namespace blockwise::kernels
