// Every rule of blockwise for any LibTorch program, in one line:
//
//   blockwise::optim::TorchOptimizer optimizer(*model, blockwise::optim::RuleOptions(1e-3)
//                                                          .rule("adam_mini")
//                                                          .options({{"beta2", 0.95}}));
//
// Formulas: optimizers/rules/, which do the update here as well. The whole protocol of
// torch::optim::Optimizer: closures, zero_grad, parameter groups, schedulers, torch::save and
// torch::load. Weight decay is decoupled and applies to every parameter of a group, as in
// torch::optim::AdamW: parameters that shall not decay go into a group of their own. Give all
// groups to the constructor: LibTorch's add_param_group() replaces the options of a group by the
// defaults for every optimizer that is not its own.
//
// Parameters without a gradient are skipped. State that parameters have by turns is held by those
// whose turn it is. Dense float32 parameters on the CPU take the fused kernels; other
// floating-point types and devices the same step in plain tensor operations. State is float32
// (float64 for float64 parameters) where the rule does not pack it.
//
// Throws InputError for options that the rule has not or that are out of range, for sparse or
// complex gradients, and by the parameter's name where a module has no known type or a partition
// rule does not cover a tensor.
#pragma once

#include <torch/optim/optimizer.h>

#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/parameters/module_parameters.hpp"
#include "core/partition/partition_rules.hpp"
#include "optimizers/rule_spec.hpp"

namespace blockwise::optim {

using RuleByRole = std::map<ParameterRole, std::string>;

// Rule and partition are read when the optimizer is constructed.
struct RuleOptions : public torch::optim::OptimizerCloneableOptions<RuleOptions> {
  RuleOptions(double lr = 1e-3) : lr_(lr) {}  // NOLINT: as in LibTorch
  TORCH_ARG(double, lr);
  TORCH_ARG(double, weight_decay) = 0.0;
  TORCH_ARG(std::string, rule) = "adamw";  // a name of update_rules()
  // Of the rule, by their names in the YAML: {{"beta1", 0.9}, {"fallback", {{"rule", "adamw"}}}}.
  TORCH_ARG(nlohmann::json, options) = nlohmann::json::object();
  TORCH_ARG(std::string, partition) = "adam_mini";  // a name of partition_rules()
  TORCH_ARG(RuleByRole, by_role);                   // other partition rules for some roles

 public:
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
  double get_lr() const override { return lr(); }
  void set_lr(double rate) override { lr(rate); }
};

// Of one parameter, by the names of UpdateRule::state().
struct RuleState : public torch::optim::OptimizerCloneableParamState<RuleState> {
  TORCH_ARG(std::int64_t, step) = 0;
  using Tensors = std::vector<std::pair<std::string, at::Tensor>>;
  TORCH_ARG(Tensors, tensors);

 public:
  // Throws InputError where there is no tensor of this name.
  const at::Tensor& tensor(std::string_view name) const;
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
};

class TorchOptimizer : public torch::optim::Optimizer {
 public:
  // One group of all parameters, described by describe_modules(). A tensor that several modules
  // register is updated once.
  explicit TorchOptimizer(const torch::nn::Module& module, RuleOptions defaults = {});
  // One group of tensors of which nothing is known but their shapes: for rules without a partition.
  explicit TorchOptimizer(std::vector<at::Tensor> parameters, RuleOptions defaults = {});
  // One group, with the descriptions given. Each must have as many elements as its tensor.
  explicit TorchOptimizer(const DescribedParameters& parameters, RuleOptions defaults = {});
  // Groups with options of their own. What `parameters` does not describe is known by its shape.
  TorchOptimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                 const DescribedParameters& parameters, RuleOptions defaults = {});

  at::Tensor step(LossClosure closure = nullptr) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  // Throws InputError where the saved optimizer had another rule or partition; then construct a new
  // one.
  void load(torch::serialize::InputArchive& archive) override;

 private:
  struct Described {
    Parameter parameter;
    bool by_shape = true;  // nothing else is known
    TensorPartition partition;
  };

  void describe(const torch::optim::OptimizerParamGroup& group);
  void check_loaded(const std::vector<RuleOptions>& own) const;
  void update_parameter(const at::Tensor& parameter, const RuleSpec& spec,
                        const RuleOptions& options);
  RuleState& state_of(const at::Tensor& parameter, const std::vector<StateSpec>& specs);
  std::int64_t layers() const;

  kernels::Workspace workspace_;
  std::unordered_map<const at::TensorImpl*, Described> described_;
  std::int64_t end_ = 0;  // behind all parameters as in a layout: rules that draw go by the place
};

}  // namespace blockwise::optim
