// What `blockwise partition` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct PartitionOptions {
  std::string config, model, output, objective;
  std::vector<std::string> assignments, agree_with;
  double max_state = 0.0;
  std::int64_t threads = -1;  // not given
  std::int64_t jobs = 1;
  bool dry_run = false, json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, PartitionOptions& options);

}  // namespace blockwise
