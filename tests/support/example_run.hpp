// Run files made by hand, for tests of what records and reads them.
#pragma once

#include <cmath>

#include "experiments/records/run_recorder.hpp"

namespace blockwise::testing {

// Two tensors: a 4 x 6 query with two heads and a norm of 4.
inline ParameterLayout example_layout() {
  Parameter query;
  query.name = "q_proj.weight";
  query.role = ParameterRole::query;
  query.layer = 0;
  query.shape = {4, 6};
  query.heads = {.count = 2, .dim = 2};
  Parameter norm;
  norm.name = "norm.weight";
  norm.role = ParameterRole::norm;
  norm.shape = {4};
  return ParameterLayout({query, norm});
}

inline Partition example_partition(const ParameterLayout& layout) {
  const PartitionSection query{ParameterRole::query, "per_head", 0, 4, 6, Structure::tiles(2, 6)};
  const PartitionSection norm{ParameterRole::norm,     "per_element", 0, 4, 1,
                              Structure::per_element()};
  return Partition(layout, "adam_mini", {{{query}}, {{norm}}});
}

inline RunHeader example_header() {
  RunHeader header;
  header.config_yaml = "name: exämple\nseed: 3\n";
  header.config_hash = "0123456789abcdef";
  header.provenance = {"0.1.0",  "1a2b3c4", "GNU 12", "2.13.0",
                       "1.10.8", "AVX2",    "cpu",    "2026-01-02T03:04:05Z",
                       2,        3};
  header.parameter_bytes = 112;
  header.gradient_bytes = 112;
  header.state_bytes = {{"exp_avg", 112}, {"exp_avg_sq", 24}};
  return header;
}

inline RunRecorder create_example_run(const std::filesystem::path& path,
                                      const RunHeader& header = example_header()) {
  const auto layout = example_layout();
  return RunRecorder::create(path, header, layout, example_partition(layout));
}

// A row that says its step in every field.
inline StepRecord example_step(std::int64_t step) {
  const auto x = static_cast<double>(step);
  return {step,      step * 100, 3.0 / x,   1e-3 / x,  x + 0.5,   x * 0.1,
          x * 0.010, x * 0.001,  x * 0.002, x * 0.003, x * 0.004, 100 / (x * 0.010)};
}

inline EvaluationRecord example_evaluation(std::int64_t step, double loss) {
  return {step, step * 100, loss, std::exp(loss), 0.25};
}

}  // namespace blockwise::testing
