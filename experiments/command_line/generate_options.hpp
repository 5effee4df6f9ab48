// What `blockwise generate` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/text/sampling_options.hpp"

namespace blockwise {

struct GenerateOptions {
  std::string model, prompt;
  std::string tokenizer;
  std::vector<std::int64_t> eos;
  bool ignore_eos = false;
  std::string device = "auto";
  std::int64_t threads = 0;
  SamplingOptions sampling;
};

void add_options(CLI::App& verb, GenerateOptions& options);

}  // namespace blockwise
