// What `blockwise train` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct TrainOptions {
  std::string config;
  std::vector<std::string> assignments;
  std::string output;
  std::string from;
  std::int64_t threads = -1;  // not given
  bool dry_run = false;
  bool json = false;
  bool progress_lines = false;
  std::string claim;
  std::int64_t claim_holder = 0;  // the process that took it
  TableWidth tables;
};

void add_options(CLI::App& verb, TrainOptions& options);

}  // namespace blockwise
