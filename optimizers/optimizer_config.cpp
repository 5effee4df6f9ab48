#include "optimizers/optimizer_config.hpp"

#include "core/partition/partition_file.hpp"

namespace blockwise {

void PartitionConfig::visit(FieldVisitor& v) {
  v.choice({"rule", "partition rule of all tensors"}, rule, partition_rule_names());
  v.text({"file", "partition file of this model, instead of the rule"}, file);
  auto choices = partition_rule_names();
  choices.insert(choices.begin(), "default");
  for (int i = 0; i < kParameterRoleCount; ++i) {
    const auto role = static_cast<ParameterRole>(i);
    const auto found = by_role.find(role);
    std::string chosen = found == by_role.end() ? "default" : found->second;
    v.choice({role_name(role), "another rule for tensors of this role"}, chosen, choices);
    by_role.erase(role);
    if (chosen != "default") by_role[role] = chosen;
  }
}

void OptimizerConfig::visit(FieldVisitor& v) {
  v.choice({"rule", "update rule", true}, rule, update_rules().names());
  v.real({"learning_rate", "peak of the schedule", true}, learning_rate, {0.0, 1e3});
  v.real({"weight_decay", "decoupled: w <- (1 - lr * weight_decay) w"}, weight_decay, {0.0, 1e3});
  v.choice_list({"no_decay", "roles without weight decay"}, no_decay, role_names());
  v.real({"gradient_clip", "bound of clip_by; 0 turns clipping off"}, gradient_clip, {0.0, 1e12});
  v.choice({"clip_by",
            "norm: the whole gradient is scaled to a global norm of at most gradient_clip; value: "
            "every element is cut to -gradient_clip .. gradient_clip"},
           clip_by, {"norm", "value"});
  if (!spec || spec->name() != rule) spec = update_rules().make(rule);
  spec->visit(v);
  if (uses_partition()) visit_partition(v);
  v.text({"block_lr", "file with a learning rate, or a factor of it, per block of the partition"},
         block_lr);
  if (!uses_partition() && !block_lr.empty()) visit_partition(v);
  v.begin_section(
      {"rates", "factors of learning_rate by role or matrix; block_lr multiplies, too"});
  rates.visit(v);
  v.end_section();
  v.begin_section({"state", "in how many bytes per value the rule's state is kept between steps"});
  state.visit(v);
  v.end_section();
}

void OptimizerConfig::visit_partition(FieldVisitor& v) {
  v.begin_section({"partition", "which elements share a second moment, or a rate of block_lr"});
  partition.visit(v);
  v.end_section();
}

bool OptimizerConfig::uses_partition() const {
  const auto* other = spec->fallback();
  return spec->uses_partition() || (other != nullptr && other->spec->uses_partition());
}

std::optional<BlockRates> OptimizerConfig::make_block_rates(const ParameterLayout& layout,
                                                            const Partition& chosen) const {
  if (block_lr.empty()) return std::nullopt;
  return read_block_rates(block_lr, layout, chosen);
}

Partition OptimizerConfig::make_partition(const ParameterLayout& layout) const {
  if (!uses_partition() && block_lr.empty())
    return blockwise::make_partition(layout, "per_element");
  if (partition.file.empty()) {
    return blockwise::make_partition(layout, partition.rule, partition.by_role);
  }
  return with_rules(layout, read_partition(partition.file, layout).partition, partition.by_role);
}

}  // namespace blockwise
