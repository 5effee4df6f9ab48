// What `blockwise bench` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/bench/bench_request.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {

struct BenchOptions {
  std::vector<std::string> groups, cases;
  BenchSizes sizes;
  BenchLength length;
  std::string profile;
  std::int64_t steps = 10;
  std::vector<std::string> assignments;
  std::int64_t threads = 0;
  std::string device = "cpu";
  bool json = false;
  TableWidth tables;
};

void add_options(CLI::App& verb, BenchOptions& options);

}  // namespace blockwise
