// What `blockwise eval` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>

#include "experiments/text/evaluation_options.hpp"

namespace blockwise {

struct EvalOptions {
  std::string model, tokens;
  std::string format;                // not given
  std::int64_t sequence_length = 0;  // not given
  std::string precision = "fp32";
  std::string device = "auto";
  EvaluationOptions evaluation;
  std::int64_t bytes = 0;
  std::int64_t threads = 0;
  bool json = false;
};

void add_options(CLI::App& verb, EvalOptions& options);

}  // namespace blockwise
