// AdamW and Adam-mini for any LibTorch program, in one line:
//
//   blockwise::optim::AdamW optimizer(model->parameters(), blockwise::optim::AdamWOptions(1e-3));
//   blockwise::optim::AdamMini optimizer(*model, blockwise::optim::AdamMiniOptions(1e-3));
//
// Formulas: optimizers/rules/adamw.cpp and adam_mini.cpp, which do the update here as well. The
// whole protocol of torch::optim::Optimizer: closures, zero_grad, parameter groups, schedulers,
// torch::save and torch::load. Weight decay is decoupled and applies to every parameter of a group,
// as in torch::optim::AdamW: parameters that shall not decay go into a group of their own. Give all
// groups to the constructor: LibTorch's add_param_group() replaces the options of a group by the
// defaults for every optimizer that is not its own.
//
// Parameters without a gradient are skipped. Dense float32 parameters on the CPU take the fused
// kernels; other floating-point types and devices the same step in plain tensor operations. State
// is float32 (float64 for float64 parameters): AdamW two values per element, AdamMini one and one
// per value of the partition. Cost of a step: one pass over weights, gradients and state.
//
// Throws InputError for options out of range, for sparse or complex gradients, and by the
// parameter's name where a module has no known type or a partition rule does not cover a tensor.
#pragma once

#include <torch/optim/optimizer.h>

#include <map>
#include <tuple>
#include <unordered_map>

#include "core/module_blocks.hpp"
#include "core/partition_rules.hpp"
#include "optimizers/kernels/adam.hpp"

namespace blockwise::optim {

using Betas = std::tuple<double, double>;
using RuleByRole = std::map<ParameterRole, std::string>;

struct AdamWOptions : public torch::optim::OptimizerCloneableOptions<AdamWOptions> {
  AdamWOptions(double lr = 1e-3) : lr_(lr) {}  // NOLINT: as in LibTorch
  TORCH_ARG(double, lr);
  TORCH_ARG(Betas, betas) = {0.9, 0.999};
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 1e-2;

 public:
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
  double get_lr() const override { return lr(); }
  void set_lr(double rate) override { lr(rate); }
};

// The partition is read when the optimizer is constructed.
struct AdamMiniOptions : public torch::optim::OptimizerCloneableOptions<AdamMiniOptions> {
  AdamMiniOptions(double lr = 1e-3) : lr_(lr) {}  // NOLINT: as in LibTorch
  TORCH_ARG(double, lr);
  TORCH_ARG(Betas, betas) = {0.9, 0.999};
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0.0;
  TORCH_ARG(std::string, partition) = "adam_mini";  // a name of partition_rules()
  TORCH_ARG(RuleByRole, by_role);                   // other rules for some roles

 public:
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
  double get_lr() const override { return lr(); }
  void set_lr(double rate) override { lr(rate); }
};

struct AdamState : public torch::optim::OptimizerCloneableParamState<AdamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(at::Tensor, exp_avg);     // the parameter's shape
  TORCH_ARG(at::Tensor, exp_avg_sq);  // AdamW: the parameter's shape; AdamMini: flat

 public:
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
};

class AdamW : public torch::optim::Optimizer {
 public:
  explicit AdamW(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                 AdamWOptions defaults = {});
  explicit AdamW(std::vector<at::Tensor> parameters, AdamWOptions defaults = {});

  at::Tensor step(LossClosure closure = nullptr) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  kernels::Workspace workspace_;
};

class AdamMini : public torch::optim::Optimizer {
 public:
  // One group of all parameters, described by describe_modules(). A tensor that several modules
  // register is updated once.
  explicit AdamMini(const torch::nn::Module& module, AdamMiniOptions defaults = {});
  // One group, with the descriptions given. Each must have as many elements as its tensor.
  explicit AdamMini(const DescribedParameters& parameters, AdamMiniOptions defaults = {});
  // Groups with options of their own, of parameters that `parameters` describes.
  AdamMini(const std::vector<torch::optim::OptimizerParamGroup>& groups,
           const DescribedParameters& parameters, AdamMiniOptions defaults = {});

  at::Tensor step(LossClosure closure = nullptr) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  // Throws InputError where the saved optimizer had another partition; then construct a new one.
  void load(torch::serialize::InputArchive& archive) override;

 private:
  struct Described {
    ParameterBlock block;
    TensorPartition partition;
    std::int64_t values = 0;  // of the second moment
  };

  kernels::Workspace workspace_;
  std::unordered_map<const at::TensorImpl*, Described> described_;
};

}  // namespace blockwise::optim
