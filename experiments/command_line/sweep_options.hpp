// What `blockwise sweep` is told.
#pragma once

#include <CLI/App.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "core/io/lease.hpp"

namespace blockwise {

struct SweepOptions {
  std::string config;
  std::vector<std::string> assignments;
  std::string output;
  std::int64_t jobs = 0;
  std::string launcher = "local";
  std::string member;
  std::int64_t lease = Lease::kLength.count();
  bool export_only = false;
  bool requeue = false;
  bool dry_run = false;
  bool json = false;
};

void add_options(CLI::App& verb, SweepOptions& options);

}  // namespace blockwise
