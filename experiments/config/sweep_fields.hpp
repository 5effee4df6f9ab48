// SweepConfig: the YAML section `sweep`, its fields and what they mean.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/fields.hpp"
#include "experiments/config/slurm_config.hpp"

namespace blockwise {

// What one key takes. A list of values, or a range to draw from.
struct ParameterDomain {
  std::string path;                 // dotted key of the run's YAML
  std::vector<std::string> values;  // YAML scalars as text
  double min = 0.0;
  double max = 0.0;
  std::int64_t whole_min = 0;  // int_uniform's bounds, both included
  std::int64_t whole_max = 0;
  std::string distribution;  // uniform, log_uniform_values, int_uniform; empty for `values`

  void visit(FieldVisitor& v);
};

// Options that belong together, for example an optimizer with its own learning rates.
struct SweepGroup {
  std::string name;
  std::vector<std::pair<std::string, std::string>> set;  // path, YAML scalar
  std::vector<ParameterDomain> parameters;

  void visit(FieldVisitor& v);
};

struct SweepConfig {
  std::string method = "grid";              // grid or random
  std::int64_t run_cap = 0;                 // random: configurations drawn per group
  std::int64_t seed = 0;                    // random: of the draw
  std::vector<std::int64_t> seeds = {1};    // every configuration runs once per seed
  std::vector<std::int64_t> confirm_seeds;  // on which the best of each group runs again
  std::string baseline;  // group that the others are compared with; empty: the first
  std::vector<ParameterDomain> parameters;
  std::vector<SweepGroup> groups;
  SlurmOptions slurm;  // for `sweep --launcher slurm`; no part of what a member is

  void visit(FieldVisitor& v);
};

}  // namespace blockwise
