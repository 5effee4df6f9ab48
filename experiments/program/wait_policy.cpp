// How OpenMP's threads wait between two parallel regions: asleep instead of spinning. Spinning
// threads gain nothing on an idle machine here and cost a factor of 2 to 3 beside other work.
//
// libgomp reads OMP_WAIT_POLICY in its own constructor, long before main(), so the program has to
// start over with the variable set. That happens in .preinit_array, before any library's
// constructor: what is done twice is mapping the libraries, not starting LibTorch. Children
// (members of a sweep) inherit the variable and start once. Whoever sets OMP_WAIT_POLICY or
// GOMP_SPINCOUNT is obeyed.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "experiments/commands/own_program.hpp"

namespace {

constexpr char kPassive[] = "OMP_WAIT_POLICY=passive";

bool sets(const char* entry, const char* name) {
  const auto length = std::strlen(name);
  return std::strncmp(entry, name, length) == 0 && entry[length] == '=';
}

// Plain arrays and calls: nothing of C++'s or LibTorch's has been started yet.
void start_over_with_passive_waiting(int, char** arguments, char** environment) {
  std::size_t count = 0;
  for (; environment[count] != nullptr; ++count) {
    if (sets(environment[count], "OMP_WAIT_POLICY")) return;
    if (sets(environment[count], "GOMP_SPINCOUNT")) return;
  }
  auto** extended = static_cast<char**>(std::calloc(count + 2, sizeof(char*)));
  if (extended == nullptr) return;
  std::memcpy(extended, environment, count * sizeof(char*));
  extended[count] = const_cast<char*>(kPassive);
  ::execve(blockwise::kOwnProgram, arguments, extended);
  std::free(extended);  // no /proc, or the like: go on as we are
}

[[gnu::section(".preinit_array"),
  gnu::used]] void (*const kStart)(int, char**, char**) = start_over_with_passive_waiting;

}  // namespace
