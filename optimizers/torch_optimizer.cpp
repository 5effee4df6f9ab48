#include "optimizers/torch_optimizer.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/optim/serialize.h>

#include "core/error.hpp"
#include "optimizers/adam_options.hpp"

namespace blockwise::optim {
namespace {

using torch::optim::OptimizerParamGroup;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

template <typename Options>
void check_options(const Options& options) {
  const auto [beta1, beta2] = options.betas();
  require_input(options.lr() >= 0.0, "lr is {}, at least 0 is needed", options.lr());
  require_input(beta1 >= 0.0 && beta1 < 1.0, "beta1 is {}, allowed is [0, 1)", beta1);
  require_input(beta2 >= 0.0 && beta2 < 1.0, "beta2 is {}, allowed is [0, 1)", beta2);
  require_input(options.eps() > 0.0, "eps is {}, more than 0 is needed", options.eps());
  require_input(options.weight_decay() >= 0.0, "weight_decay is {}, at least 0 is needed",
                options.weight_decay());
}

template <typename Options>
AdamOptions adam_options(const Options& options) {
  const auto [beta1, beta2] = options.betas();
  return {beta1, beta2, options.eps()};
}

template <typename Options>
void write_common(const Options& options, OutputArchive& archive) {
  const auto [beta1, beta2] = options.betas();
  archive.write("lr", c10::IValue(options.lr()));
  archive.write("beta1", c10::IValue(beta1));
  archive.write("beta2", c10::IValue(beta2));
  archive.write("eps", c10::IValue(options.eps()));
  archive.write("weight_decay", c10::IValue(options.weight_decay()));
}

c10::IValue read(InputArchive& archive, const std::string& key) {
  c10::IValue value;
  archive.read(key, value);
  return value;
}

template <typename Options>
void read_common(Options& options, InputArchive& archive) {
  options.lr(read(archive, "lr").toDouble());
  options.betas({read(archive, "beta1").toDouble(), read(archive, "beta2").toDouble()});
  options.eps(read(archive, "eps").toDouble());
  options.weight_decay(read(archive, "weight_decay").toDouble());
}

at::Tensor evaluate(const torch::optim::Optimizer::LossClosure& closure) {
  if (closure == nullptr) return {};
  const at::AutoGradMode with_gradients(true);
  return closure();
}

bool has_step(const at::Tensor& parameter) {
  const auto& gradient = parameter.grad();
  if (!gradient.defined() || parameter.numel() == 0) return false;
  require_input(!gradient.is_sparse() && at::isFloatingType(parameter.scalar_type()),
                "a gradient is {} and {}; dense floating-point ones are needed",
                gradient.is_sparse() ? "sparse" : "dense", c10::toString(parameter.scalar_type()));
  return true;
}

// The state of a parameter, made at its first step.
AdamState& state_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter,
                    at::IntArrayRef moment_shape) {
  auto& slot = optimizer.state()[parameter.unsafeGetTensorImpl()];
  if (slot == nullptr) {
    const auto dtype = at::promote_types(parameter.scalar_type(), at::kFloat);
    const auto options = at::TensorOptions(parameter.device()).dtype(dtype);
    auto fresh = std::make_unique<AdamState>();
    fresh->exp_avg(at::zeros(parameter.sizes(), options));
    fresh->exp_avg_sq(at::zeros(moment_shape, options));
    slot = std::move(fresh);
  }
  return static_cast<AdamState&>(*slot);
}

template <typename Options>
void update(const UpdateRule& rule, const ParameterBlock& block, const TensorPartition& partition,
            const at::Tensor& parameter, AdamState& state, const Options& options,
            kernels::Workspace& space) {
  state.step(state.step() + 1);
  const StepInfo info{state.step(), options.lr(), options.weight_decay(), 1.0};
  const auto weights = parameter.detach().contiguous();  // the parameter itself where it is dense
  const auto gradient = parameter.grad().detach().to(state.exp_avg().scalar_type()).contiguous();
  const BlockUpdate block_update{block,
                                 partition,
                                 weights,
                                 gradient,
                                 {state.exp_avg().view({-1}), state.exp_avg_sq().view({-1})}};
  if (weights.device().is_cpu() && weights.scalar_type() == at::kFloat) {
    rule.update_cpu(block_update, info, space);
  } else {
    rule.update_tensors(block_update, info);
  }
  if (!weights.is_alias_of(parameter)) parameter.detach().copy_(weights);
}

// LibTorch keeps a group's options only for its own optimizers; others get the defaults.
void restore_options(const std::vector<OptimizerParamGroup>& given,
                     std::vector<OptimizerParamGroup>& kept) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i].has_options()) kept[i].set_options(given[i].options().clone());
  }
}

std::vector<at::Tensor> tensors_of(const DescribedParameters& parameters) {
  std::vector<at::Tensor> tensors;
  for (const auto& [tensor, block] : parameters) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

void AdamWOptions::serialize(OutputArchive& archive) const { write_common(*this, archive); }

void AdamWOptions::serialize(InputArchive& archive) { read_common(*this, archive); }

void AdamMiniOptions::serialize(OutputArchive& archive) const {
  write_common(*this, archive);
  c10::Dict<std::string, std::string> roles;
  for (const auto& [role, rule] : by_role()) roles.insert(std::string(role_name(role)), rule);
  archive.write("partition", c10::IValue(partition()));
  archive.write("by_role", c10::IValue(roles));
}

void AdamMiniOptions::serialize(InputArchive& archive) {
  read_common(*this, archive);
  partition(read(archive, "partition").toStringRef());
  by_role({});
  for (const auto& item : read(archive, "by_role").toGenericDict()) {
    by_role()[role_from_name(item.key().toStringRef())] = item.value().toStringRef();
  }
}

void AdamState::serialize(OutputArchive& archive) const {
  archive.write("step", c10::IValue(step()));
  archive.write("exp_avg", c10::IValue(exp_avg()));
  archive.write("exp_avg_sq", c10::IValue(exp_avg_sq()));
}

void AdamState::serialize(InputArchive& archive) {
  step(read(archive, "step").toInt());
  exp_avg(read(archive, "exp_avg").toTensor());
  exp_avg_sq(read(archive, "exp_avg_sq").toTensor());
}

// ---- AdamW -----------------------------------------------------------------------------------

AdamW::AdamW(const std::vector<OptimizerParamGroup>& groups, AdamWOptions defaults)
    : Optimizer(groups, std::make_unique<AdamWOptions>(std::move(defaults))) {
  restore_options(groups, param_groups_);
  for (const auto& group : param_groups_) {
    check_options(static_cast<const AdamWOptions&>(group.options()));
  }
}

AdamW::AdamW(std::vector<at::Tensor> parameters, AdamWOptions defaults)
    : AdamW({OptimizerParamGroup(std::move(parameters))}, std::move(defaults)) {}

at::Tensor AdamW::step(LossClosure closure) {
  const at::NoGradGuard no_grad;
  const auto loss = evaluate(closure);
  for (const auto& group : param_groups_) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    const auto rule = adamw_rule(adam_options(options));
    for (const auto& parameter : group.params()) {
      if (!has_step(parameter)) continue;
      ParameterBlock block;
      block.shape = parameter.sizes().vec();
      update(*rule, block, {}, parameter, state_of(*this, parameter, parameter.sizes()), options,
             workspace_);
    }
  }
  return loss;
}

void AdamW::save(OutputArchive& archive) const {
  torch::optim::serialize<AdamState, AdamWOptions>(archive, *this);
}

void AdamW::load(InputArchive& archive) {
  torch::optim::serialize<AdamState, AdamWOptions>(archive, *this);
}

// ---- AdamMini --------------------------------------------------------------------------------

AdamMini::AdamMini(const torch::nn::Module& module, AdamMiniOptions defaults)
    : AdamMini(describe_modules(module), std::move(defaults)) {}

AdamMini::AdamMini(const DescribedParameters& parameters, AdamMiniOptions defaults)
    : AdamMini({OptimizerParamGroup(tensors_of(parameters))}, parameters, std::move(defaults)) {}

AdamMini::AdamMini(const std::vector<OptimizerParamGroup>& groups,
                   const DescribedParameters& parameters, AdamMiniOptions defaults)
    : Optimizer(groups, std::make_unique<AdamMiniOptions>(std::move(defaults))) {
  restore_options(groups, param_groups_);
  for (const auto& [tensor, block] : parameters) {
    require_input(block.size() == tensor.numel(),
                  "parameter '{}' has {} elements, its description {}", block.name, tensor.numel(),
                  block.size());
    described_[tensor.unsafeGetTensorImpl()].block = block;
  }
  for (const auto& group : param_groups_) {
    const auto& options = static_cast<const AdamMiniOptions&>(group.options());
    check_options(options);
    for (const auto& parameter : group.params()) {
      const auto found = described_.find(parameter.unsafeGetTensorImpl());
      require_input(found != described_.end(), "a parameter of {} elements has no description",
                    parameter.numel());
      const auto partition = make_partition(ParameterLayout({found->second.block}),
                                            options.partition(), options.by_role());
      found->second.partition = partition.tensors().front();
      found->second.values = partition.state_size();
    }
  }
}

at::Tensor AdamMini::step(LossClosure closure) {
  const at::NoGradGuard no_grad;
  const auto loss = evaluate(closure);
  for (const auto& group : param_groups_) {
    const auto& options = static_cast<const AdamMiniOptions&>(group.options());
    const auto rule = adam_mini_rule(adam_options(options));
    for (const auto& parameter : group.params()) {
      if (!has_step(parameter)) continue;
      const auto found = described_.find(parameter.unsafeGetTensorImpl());
      require_input(found != described_.end(),
                    "a parameter of {} elements was added to the optimizer without a description",
                    parameter.numel());
      const auto& [block, partition, values] = found->second;
      update(*rule, block, partition, parameter, state_of(*this, parameter, {values}), options,
             workspace_);
    }
  }
  return loss;
}

void AdamMini::save(OutputArchive& archive) const {
  torch::optim::serialize<AdamState, AdamMiniOptions>(archive, *this);
}

void AdamMini::load(InputArchive& archive) {
  std::vector<AdamMiniOptions> own;
  for (const auto& group : param_groups_) {
    own.push_back(static_cast<const AdamMiniOptions&>(group.options()));
  }
  torch::optim::serialize<AdamState, AdamMiniOptions>(archive, *this);
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto& saved = static_cast<const AdamMiniOptions&>(param_groups_[i].options());
    require_input(
        saved.partition() == own[i].partition() && saved.by_role() == own[i].by_role(),
        "the saved optimizer has partition rule '{}' in group {}, this one '{}' (or other "
        "rules by role)",
        saved.partition(), i, own[i].partition());
    for (const auto& parameter : param_groups_[i].params()) {
      const auto state = state_.find(parameter.unsafeGetTensorImpl());
      if (state == state_.end()) continue;
      const auto& described = described_.at(parameter.unsafeGetTensorImpl());
      const auto held = static_cast<const AdamState&>(*state->second).exp_avg_sq().numel();
      require_input(held == described.values,
                    "the saved optimizer state of '{}' has {} values, its partition {}",
                    described.block.name, held, described.values);
    }
  }
}

}  // namespace blockwise::optim
