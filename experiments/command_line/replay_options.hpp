// What `blockwise replay` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

struct ReplayOptions {
  std::string file, rule, output;
  std::vector<std::string> assignments, roles, heads, layers;
  std::int64_t seed = 0;
};

void add_options(CLI::App& verb, ReplayOptions& options);

}  // namespace blockwise
