// What `blockwise report` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct ReportOptions {
  std::string folder;
  bool confirm = false;
  std::vector<std::int64_t> seeds;  // of the confirmation; empty where none is named
  std::int64_t jobs = 0;
  bool csv = false;
  bool json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, ReportOptions& options);

}  // namespace blockwise
