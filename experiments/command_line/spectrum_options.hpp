// What `blockwise spectrum` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct SpectrumOptions {
  std::string config, checkpoints, tokens, output, precision;
  std::vector<std::string> assignments, models;
  std::int64_t sequence_length = 0;  // not given
  std::int64_t threads = -1;         // not given
  bool exact = false, dry_run = false, json = false, no_figure = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, SpectrumOptions& options);

}  // namespace blockwise
