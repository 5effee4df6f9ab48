// What `blockwise sweep` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

struct SweepOptions {
  std::string config;
  std::vector<std::string> assignments;
  std::string output;
  std::int64_t jobs = 0;
  bool dry_run = false;
  bool json = false;
};

void add_options(CLI::App& verb, SweepOptions& options);

}  // namespace blockwise
