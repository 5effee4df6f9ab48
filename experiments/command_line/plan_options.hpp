// What `blockwise plan` is told.
#pragma once

#include <CLI/App.hpp>

#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct PlanOptions {
  std::string config;
  std::vector<std::string> assignments;
  double device_gib = 80.0;
  bool json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, PlanOptions& options);

}  // namespace blockwise
