// The YAML section `discovery`: how a partition is looked for.
#pragma once

#include <string>
#include <vector>

#include "core/base/fields.hpp"
#include "hessian/block_energies.hpp"

namespace blockwise {

struct DiscoveryConfig {
  std::string objective = "energy";
  std::vector<std::string> candidates;
  std::string scope = "tensor";
  double max_state = 1.0;
  double state_cost = 1.0;
  std::int64_t vectors = 16;
  std::int64_t codes = 4;
  std::int64_t gradient_batches = 16;
  std::int64_t validation_vectors = 4;
  std::int64_t sample = 0;
  std::int64_t condition_blocks = 1;
  bool merge = false;
  bool shuffle = false;
  std::int64_t trial_steps = 0;
  std::int64_t trial_seeds = 5;
  std::int64_t max_trials = 200;
  double tolerance = 0.01;
  std::int64_t seed = 0;

  void visit(FieldVisitor& v);
  bool uses(const std::string& candidate) const;
  bool by_loss() const { return objective == "loss"; }
  bool needs_products() const { return objective != "signal_to_noise" && vectors > 0; }
  CodePlan code_plan() const { return {vectors, codes, static_cast<std::uint64_t>(seed)}; }
};

}  // namespace blockwise
