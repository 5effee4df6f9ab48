// What `blockwise list` is told.
#pragma once

#include <CLI/App.hpp>

#include <array>
#include <string>

namespace blockwise {

// In the order in which all of them are listed.
inline constexpr std::array kListTopics = {"optimizers", "rates",      "models",    "data",
                                           "schedules",  "partitions", "trainer",   "parallel",
                                           "hessian",    "discovery",  "search_lr", "sweep"};

struct ListOptions {
  std::string topic;  // all where it is empty
};

void add_options(CLI::App& verb, ListOptions& options);

}  // namespace blockwise
