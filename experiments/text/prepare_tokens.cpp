#include "experiments/text/prepare_tokens.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "core/base/error.hpp"
#include "experiments/text/python.hpp"

namespace blockwise {

void prepare_tokens(const std::vector<std::string>& arguments) {
  std::vector<std::string> module = {"blockwise.tokens"};
  module.insert(module.end(), arguments.begin(), arguments.end());
  auto words = python_command(module);
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::fflush(nullptr);
  ::execvp(pointers[0], pointers.data());
  throw InputError(
      fmt::format("the Python '{}' cannot be started: {}; BLOCKWISE_PYTHON names another", words[0],
                  std::strerror(errno)));
}

}  // namespace blockwise
