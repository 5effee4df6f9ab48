// The YAML section `optimizer`: the rule and its options, and what is the same for every rule:
// rate, decoupled weight decay with its exempt roles, clipping, partition.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clone_ptr.hpp"
#include "core/base/fields.hpp"
#include "core/partition/block_rates.hpp"
#include "core/partition/partition_rules.hpp"
#include "optimizers/rates/rate_config.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/state/state_format.hpp"

namespace blockwise {

struct PartitionConfig {
  std::string rule = "adam_mini";
  std::string file;  // instead of the rule
  std::map<ParameterRole, std::string> by_role;
  void visit(FieldVisitor& v);
};

struct OptimizerConfig {
  std::string rule = "adamw";
  double learning_rate = 1e-3;
  double weight_decay = 0.0;
  std::vector<std::string> no_decay = {"norm", "bias"};
  double gradient_clip = 1.0;
  std::string clip_by = "norm";
  PartitionConfig partition;
  std::string block_lr;
  RateConfig rates;
  StateFormat state;
  ClonePtr<RuleSpec> spec;  // of `rule`; made by visit()

  void visit(FieldVisitor& v);
  // Where the rule, or another that it leaves parameters to, follows a partition.
  bool uses_partition() const;
  // The partition of the rule: per element where neither it nor rates per block need one.
  Partition make_partition(const ParameterLayout& layout) const;
  // Those of block_lr, of that partition; none without it.
  std::optional<BlockRates> make_block_rates(const ParameterLayout& layout,
                                             const Partition& partition) const;

 private:
  void visit_partition(FieldVisitor& v);
};

}  // namespace blockwise
