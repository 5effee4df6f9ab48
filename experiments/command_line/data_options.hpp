// What `blockwise data` is told.
#pragma once

#include <CLI/App.hpp>

#include <string>
#include <vector>

namespace blockwise {

// Words for Python, which checks them; here only the options' names and choices are.
struct DataOptions {
  std::vector<std::string> words;
};

void add_options(CLI::App& verb, DataOptions& options);

}  // namespace blockwise
