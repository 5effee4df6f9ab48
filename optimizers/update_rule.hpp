// UpdateRule: how one parameter tensor changes, from its gradient and its state. A rule owns no
// state: the Optimizer holds it in flat buffers and hands out views, so that saving, counting bytes
// and sharding are the same for every rule.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "core/fields.hpp"
#include "core/partition.hpp"
#include "optimizers/kernels/adam.hpp"

namespace blockwise {

struct StepInfo {
  std::int64_t step = 0;        // 1 at the first step
  double learning_rate = 0.0;   // scheduled
  double weight_decay = 0.0;    // 0 for tensors that are exempt
  double gradient_scale = 1.0;  // the clipping factor, applied to the gradient as it is read
};

// One flat state tensor: `exp_avg` has a value per parameter, `exp_avg_sq` one per value of the
// partition. All state is float32.
struct StateKind {
  enum class Extent { per_parameter, per_partition_value };
  std::string name;
  Extent extent;
};

struct BlockUpdate {
  const ParameterBlock& block;
  const TensorPartition& partition;
  at::Tensor parameter;           // [shape], updated in place
  at::Tensor gradient;            // [shape]
  std::vector<at::Tensor> state;  // flat views in the order of UpdateRule::state()
};

// A section of a tensor whose value is shared across tensors; see PartitionSection::merged.
struct MergedSection {
  at::Tensor gradient;  // [elements of the section], contiguous
  at::Tensor value;     // [1], of the rule's state per partition value
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  virtual std::vector<StateKind> state() const = 0;
  // Fused float32 CPU kernels. Returns the sum of (w_new - w_old)^2.
  virtual double update_cpu(const BlockUpdate& update, const StepInfo& info,
                            kernels::Workspace& space) const = 0;
  // The same step in plain tensor operations, on any device; where there is no kernel, and as a
  // second oracle. Returns the sum of (w_new - w_old)^2 as a 0-d tensor on the device.
  virtual at::Tensor update_tensors(const BlockUpdate& update, const StepInfo& info) const = 0;
  // Before the updates of a step: the value of sections that share one, which the updates leave as
  // it is. Throws InputError unless the rule can do it.
  virtual void update_merged(const std::vector<MergedSection>& sections, const StepInfo& info,
                             kernels::Workspace& space) const;
};

// What the YAML's `optimizer.rule` turns into.
class RuleSpec {
 public:
  virtual ~RuleSpec() = default;
  virtual std::string name() const = 0;
  virtual std::string doc() const = 0;
  // True when the second moment follows the partition; otherwise a partition is an error.
  virtual bool uses_partition() const = 0;
  virtual void visit(FieldVisitor& visitor) = 0;
  virtual std::unique_ptr<UpdateRule> build() const = 0;
  virtual std::unique_ptr<RuleSpec> clone() const = 0;
};

struct RuleEntry {
  std::string name;
  std::unique_ptr<RuleSpec> (*make)();
};

// The table of optimizers/registry.inc.
const std::vector<RuleEntry>& update_rules();
std::unique_ptr<RuleSpec> make_rule_spec(const std::string& name);

}  // namespace blockwise
