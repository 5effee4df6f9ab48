// What to say of more threads than cores, which wait for each other instead of computing.
#pragma once

#include <cstdint>
#include <string>

namespace blockwise {

// Of a program whose configuration and flags ask for `threads`, 0 for the default: a sentence with
// the threads, the cores that this process may use, and what to do. Empty where they suffice.
std::string thread_note(std::int64_t threads);

// Of a sweep or of trials with `jobs` runs at a time.
std::string jobs_note(std::int64_t jobs);

// Each of `jobs` runs at a time: an equal share of the cores, one at least, and no more than
// OMP_NUM_THREADS.
std::int64_t threads_of_member(std::int64_t jobs);

}  // namespace blockwise
