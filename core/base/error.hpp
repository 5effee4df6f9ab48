// Errors of the whole program, and the exit code that each one ends in.
//
//   InputError   what the user gave is wrong (a YAML, a path, a token file, a damaged checkpoint).
//                The text names the place, the value and the bound. Exit code 2.
//   std::runtime_error and everything else: the run itself failed (disk full, out of memory).
//                Exit code 1.
//   InvariantError   a defect of ours: two values that must agree do not. The text prints both.
//
// A numerical outcome (diverged, not converged) is never an exception: it is a field of a result.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace blockwise {

class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class InvariantError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Throws InvariantError "what: left != right" unless the two values are equal.
template <typename A, typename B>
void check_equal(const A& left, const B& right, std::string_view what) {
  if (!(left == right)) throw InvariantError(fmt::format("{}: {} != {}", what, left, right));
}

// Throws InputError with the formatted text unless the condition holds.
template <typename... Args>
void require_input(bool condition, fmt::format_string<Args...> text, Args&&... args) {
  if (!condition) throw InputError(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace blockwise
