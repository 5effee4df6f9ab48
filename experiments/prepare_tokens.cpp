#include "experiments/prepare_tokens.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/error.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

// build/release/blockwise -> the checkout that it was built from
fs::path checkout() {
  return fs::read_symlink("/proc/self/exe").parent_path().parent_path().parent_path();
}

std::string python() {
  if (const char* chosen = std::getenv("BLOCKWISE_PYTHON")) return chosen;
  const auto own = checkout() / ".venv/bin/python";
  return fs::exists(own) ? own.string() : "python3";
}

// Ours first, then what the user has set.
void extend_python_path() {
  auto path = (checkout() / "notebooks").string();
  if (const char* set = std::getenv("PYTHONPATH"); set != nullptr && *set != '\0') {
    path += ':';
    path += set;
  }
  ::setenv("PYTHONPATH", path.c_str(), 1);
}

}  // namespace

void prepare_tokens(const std::vector<std::string>& arguments) {
  extend_python_path();
  std::vector<std::string> words = {python(), "-m", "blockwise.tokens"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::fflush(nullptr);
  ::execvp(pointers[0], pointers.data());
  throw InputError(
      fmt::format("the Python '{}' cannot be started: {}", words[0], std::strerror(errno)));
}

}  // namespace blockwise
