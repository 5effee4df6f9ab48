// What `blockwise plan` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct PlanOptions {
  std::string config;
  std::vector<std::string> assignments;
  std::string device_memory;  // that the run has to fit into; empty: none is asked for
  std::int64_t ranks = 1;
  double gigabytes_per_second = 0.0, teraflops = 0.0;  // of each rank; 0: not known
  bool json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, PlanOptions& options);

}  // namespace blockwise
