// What `blockwise curves` is told.
#pragma once

#include <CLI/App.hpp>

#include <string>

namespace blockwise {

struct CurvesOptions {
  std::string folder;
  bool csv = false;
  bool tensorboard = false;
  bool wandb = false;
  std::string output;
};

void add_options(CLI::App& verb, CurvesOptions& options);

}  // namespace blockwise
