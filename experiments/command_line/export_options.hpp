// What `blockwise export` is told.
#pragma once

#include <CLI/App.hpp>

#include <string>

namespace blockwise {

struct ExportOptions {
  std::string model, output;
  std::string dtype = "fp32";
  double shard_gb = 5.0;
};

void add_options(CLI::App& verb, ExportOptions& options);

}  // namespace blockwise
