// RuleSpec: what the YAML's `optimizer.rule` turns into: a rule's name, its options and the
// parameters that it takes. A rule's own file ends with one call of rule_spec(); optimizers/
// registry.inc has a line with its maker.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "core/base/clone_ptr.hpp"
#include "core/base/fields.hpp"
#include "core/base/registry.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {

class RuleSpec;

// Another rule for what a rule does not take.
struct FallbackRule {
  std::string rule = "adamw";
  double learning_rate = 0.0;  // at the peak of the schedule; 0: that of the optimizer
  std::vector<std::string> roles;
  ClonePtr<RuleSpec> spec;  // of `rule`; made by visit()

  // Reads the section of this name.
  void visit(FieldVisitor& v, const Field& section);
  bool takes(const Parameter& parameter) const;
};

class RuleSpec {
 public:
  virtual ~RuleSpec() = default;
  virtual std::string name() const = 0;
  virtual std::string doc() const = 0;
  // True when the second moment follows the partition.
  virtual bool uses_partition() const = 0;
  virtual void visit(FieldVisitor& visitor) = 0;
  virtual std::unique_ptr<UpdateRule> build() const = 0;
  // The file that build() reads, "" for none: its content belongs to the experiment.
  virtual std::string file() const { return ""; }
  // Parameters take turns in the rule's state (StateSpec::turn): it is no other rule's fallback.
  virtual bool takes_turns() const = 0;
  // For rules of whole matrices: what has no such form, and roles that are named. Otherwise null.
  virtual const FallbackRule* fallback() const { return nullptr; }
  virtual std::unique_ptr<RuleSpec> clone() const = 0;
};

const Registry<RuleSpec>& update_rules();

// The option `hyperball` of every rule of whole matrices: the rule's direction, on the sphere of
// the matrix; see rules/hyperball.cpp.
void visit_hyperball(FieldVisitor& v, bool& on);
std::unique_ptr<UpdateRule> on_hyperball(std::unique_ptr<UpdateRule> rule);

struct RuleInfo {
  const char* name;
  const char* doc;
  bool uses_partition = false;
  bool takes_turns = false;
};

// The spec of a Rule that has a struct `Options` with visit(), and is made of one. Options that
// have a `fallback` make it a rule of whole matrices, which has the option `hyperball`, too.
template <typename Rule>
class RuleSpecOf final : public RuleSpec {
 public:
  explicit RuleSpecOf(const RuleInfo& info) : info_(info) {}
  std::string name() const override { return info_.name; }
  std::string doc() const override { return info_.doc; }
  bool uses_partition() const override { return info_.uses_partition; }
  bool takes_turns() const override { return info_.takes_turns; }
  void visit(FieldVisitor& visitor) override {
    options_.visit(visitor);
    if constexpr (requires { options_.fallback; }) visit_hyperball(visitor, hyperball_);
  }
  std::unique_ptr<UpdateRule> build() const override {
    auto rule = std::make_unique<Rule>(options_);
    if (hyperball_) return on_hyperball(std::move(rule));
    return rule;
  }
  const FallbackRule* fallback() const override {
    if constexpr (requires { options_.fallback; }) return &options_.fallback;
    return nullptr;
  }
  std::string file() const override {
    if constexpr (requires { options_.weights; }) return options_.weights;
    return "";
  }
  std::unique_ptr<RuleSpec> clone() const override { return std::make_unique<RuleSpecOf>(*this); }

 private:
  RuleInfo info_;
  typename Rule::Options options_;
  bool hyperball_ = false;
};

template <typename Rule>
std::unique_ptr<RuleSpec> rule_spec(const RuleInfo& info) {
  return std::make_unique<RuleSpecOf<Rule>>(info);
}

}  // namespace blockwise
