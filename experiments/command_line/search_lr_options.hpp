// What `blockwise search-lr` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct SearchLrOptions {
  std::string config, model, output, method;
  std::vector<std::string> assignments;
  std::int64_t threads = -1;  // not given
  std::int64_t jobs = 1;
  bool dry_run = false, json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, SearchLrOptions& options);

}  // namespace blockwise
