#include "experiments/terminal/thread_note.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/memory/device.hpp"

namespace blockwise {
namespace {

std::string cores_text(int cores) { return fmt::format("{} core{}", cores, cores == 1 ? "" : "s"); }

}  // namespace

std::string thread_note(std::int64_t threads) {
  const int cores = available_threads();
  const int count = thread_count(threads);
  if (count <= cores) return "";
  const auto* source = threads > 0 ? "trainer.threads or --threads" : "OMP_NUM_THREADS";
  return fmt::format(
      "{} threads ({}) for the {} that this process may use wait for each other: --threads {} is "
      "faster",
      count, source, cores_text(cores), cores);
}

std::int64_t threads_of_member(std::int64_t jobs) {
  const auto share = std::max<std::int64_t>(1, available_threads() / jobs);
  return std::min<std::int64_t>(share, thread_count(0));
}

std::string jobs_note(std::int64_t jobs) {
  const int cores = available_threads();
  const auto threads = jobs * threads_of_member(jobs);
  if (threads <= cores) return "";
  return fmt::format(
      "{} runs at a time are {} threads for the {} that this process may use, and wait for each "
      "other: --jobs {} is faster",
      jobs, threads, cores_text(cores), cores);
}

}  // namespace blockwise
