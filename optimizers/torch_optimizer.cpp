#include "optimizers/torch_optimizer.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/optim/serialize.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/json_fields.hpp"

namespace blockwise::optim {
namespace {

using torch::optim::OptimizerParamGroup;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

std::unique_ptr<RuleSpec> spec_of(const RuleOptions& options) {
  require_input(options.lr() >= 0.0, "lr is {}, at least 0 is needed", options.lr());
  require_input(options.weight_decay() >= 0.0, "weight_decay is {}, at least 0 is needed",
                options.weight_decay());
  auto spec = update_rules().make(options.rule());
  set_from_json(*spec, options.options());
  return spec;
}

const RuleOptions& options_of(const OptimizerParamGroup& group) {
  return static_cast<const RuleOptions&>(group.options());
}

// The fallback where it takes the parameter, otherwise null.
const FallbackRule* fallback_for(const RuleSpec& spec, const Parameter& parameter) {
  const auto* other = spec.fallback();
  return other != nullptr && other->takes(parameter) ? other : nullptr;
}

const RuleSpec& spec_for(const RuleSpec& spec, const Parameter& parameter) {
  const auto* other = fallback_for(spec, parameter);
  return other == nullptr ? spec : *other->spec;
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

c10::IValue read(InputArchive& archive, const std::string& key) {
  c10::IValue value;
  archive.read(key, value);
  return value;
}

// LibTorch keeps a group's options only for its own optimizers; others get the defaults.
void restore_options(const std::vector<OptimizerParamGroup>& given,
                     std::vector<OptimizerParamGroup>& kept) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i].has_options()) kept[i].set_options(given[i].options().clone());
  }
}

at::Tensor zero_state(const StateSpec& spec, bool rests, const at::TensorOptions& options) {
  return at::zeros(rests ? std::vector<std::int64_t>{0} : spec.shape, options);
}

// State by turns: zeros where a turn begins, nothing while the parameter rests.
void make_room(RuleState& state, const std::vector<StateSpec>& specs, bool rests) {
  for (std::size_t k = 0; k < specs.size(); ++k) {
    auto& held = state.tensors()[k].second;
    if (specs[k].turn < 0 || rests == (held.numel() == 0)) continue;
    held = zero_state(specs[k], rests, held.options());
  }
}

std::vector<at::Tensor> tensors_of(const DescribedParameters& parameters) {
  std::vector<at::Tensor> tensors;
  for (const auto& [tensor, block] : parameters) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

void RuleOptions::serialize(OutputArchive& archive) const {
  c10::Dict<std::string, std::string> roles;
  for (const auto& [role, rule] : by_role()) roles.insert(std::string(role_name(role)), rule);
  archive.write("lr", c10::IValue(lr()));
  archive.write("weight_decay", c10::IValue(weight_decay()));
  archive.write("rule", c10::IValue(rule()));
  archive.write("options", c10::IValue(options().dump()));
  archive.write("partition", c10::IValue(partition()));
  archive.write("by_role", c10::IValue(roles));
}

void RuleOptions::serialize(InputArchive& archive) {
  lr(read(archive, "lr").toDouble());
  weight_decay(read(archive, "weight_decay").toDouble());
  rule(read(archive, "rule").toStringRef());
  options(nlohmann::json::parse(read(archive, "options").toStringRef()));
  partition(read(archive, "partition").toStringRef());
  by_role({});
  for (const auto& item : read(archive, "by_role").toGenericDict()) {
    by_role()[role_from_name(item.key().toStringRef())] = item.value().toStringRef();
  }
}

const at::Tensor& RuleState::tensor(std::string_view name) const {
  for (const auto& [key, tensor] : tensors()) {
    if (key == name) return tensor;
  }
  throw InputError(fmt::format("the optimizer keeps no '{}'", name));
}

void RuleState::serialize(OutputArchive& archive) const {
  c10::List<std::string> names;
  for (const auto& [name, tensor] : tensors()) names.push_back(name);
  archive.write("step", c10::IValue(step()));
  archive.write("names", c10::IValue(names));
  for (const auto& [name, tensor] : tensors()) archive.write(name, c10::IValue(tensor));
}

void RuleState::serialize(InputArchive& archive) {
  step(read(archive, "step").toInt());
  tensors({});
  const auto names = read(archive, "names").toList();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto name = names.get(i).toStringRef();
    tensors().emplace_back(name, read(archive, name).toTensor());
  }
}

TorchOptimizer::TorchOptimizer(const torch::nn::Module& module, RuleOptions defaults)
    : TorchOptimizer(describe_modules(module), std::move(defaults)) {}

TorchOptimizer::TorchOptimizer(std::vector<at::Tensor> parameters, RuleOptions defaults)
    : TorchOptimizer({OptimizerParamGroup(std::move(parameters))}, {}, std::move(defaults)) {}

TorchOptimizer::TorchOptimizer(const DescribedParameters& parameters, RuleOptions defaults)
    : TorchOptimizer({OptimizerParamGroup(tensors_of(parameters))}, parameters,
                     std::move(defaults)) {}

TorchOptimizer::TorchOptimizer(const std::vector<OptimizerParamGroup>& groups,
                               const DescribedParameters& parameters, RuleOptions defaults)
    : Optimizer(groups, std::make_unique<RuleOptions>(std::move(defaults))) {
  restore_options(groups, param_groups_);
  for (const auto& [tensor, block] : parameters) {
    require_input(block.size() == tensor.numel(),
                  "parameter '{}' has {} elements, its description {}", block.name, tensor.numel(),
                  block.size());
    described_[tensor.unsafeGetTensorImpl()] = {block, false, {}};
  }
  for (const auto& group : param_groups_) describe(group);
}

// Partitions of a group's parameters.
void TorchOptimizer::describe(const OptimizerParamGroup& group) {
  const auto& options = options_of(group);
  const auto spec = spec_of(options);
  for (const auto& parameter : group.params()) {
    auto& known = described_[parameter.unsafeGetTensorImpl()];
    if (known.by_shape) known.parameter.shape = parameter.sizes().vec();
    if (parameter.numel() == 0) continue;
    const bool follows = spec_for(*spec, known.parameter).uses_partition();
    require_input(!follows || !known.by_shape,
                  "rule '{}' follows a partition, and a parameter of {} elements has no "
                  "description",
                  options.rule(), parameter.numel());
    if (known.parameter.name.empty()) known.parameter.name = "parameter";
    require_input(spec_for(*spec, known.parameter).build()->traits({}).curvature_every == 0,
                  "rule '{}' takes estimates of the curvature, which this optimizer is not given",
                  options.rule());
    if (known.partition.sections.empty()) {  // not yet described
      known.parameter.offset = end_;
      end_ += parameter.numel();
    }
    const auto partition = follows
                               ? make_partition(ParameterLayout({known.parameter}),
                                                options.partition(), options.by_role())
                               : make_partition(ParameterLayout({known.parameter}), "per_element");
    known.partition = partition.tensors().front();
  }
}

RuleState& TorchOptimizer::state_of(const at::Tensor& parameter,
                                    const std::vector<StateSpec>& specs) {
  auto& slot = state()[parameter.unsafeGetTensorImpl()];
  if (slot == nullptr) {
    auto fresh = std::make_unique<RuleState>();
    for (const auto& spec : specs) {
      const auto type = spec.type == at::kFloat
                            ? at::promote_types(parameter.scalar_type(), spec.type)
                            : spec.type;
      const auto options = at::TensorOptions(parameter.device()).dtype(type);
      fresh->tensors().emplace_back(spec.name, spec.is_chosen_later()
                                                   ? at::zeros({0}, options)
                                                   : zero_state(spec, spec.turn >= 0, options));
    }
    slot = std::move(fresh);
  }
  return static_cast<RuleState&>(*slot);
}

std::int64_t TorchOptimizer::layers() const {
  std::int64_t last = -1;
  for (const auto& [tensor, known] : described_) last = std::max(last, known.parameter.layer);
  return last + 1;
}

void TorchOptimizer::update_parameter(const at::Tensor& parameter, const RuleSpec& spec,
                                      const RuleOptions& options) {
  const auto found = described_.find(parameter.unsafeGetTensorImpl());
  require_input(found != described_.end(),
                "a parameter of {} elements was added to the optimizer without a description",
                parameter.numel());
  const auto& known = found->second;
  const auto* other = fallback_for(spec, known.parameter);
  const double own_rate = other == nullptr ? 0.0 : other->learning_rate;
  const auto rule = spec_for(spec, known.parameter).build();
  const auto specs = rule->state(known.parameter, known.partition);
  auto& state = state_of(parameter, specs);
  state.step(state.step() + 1);
  const StepScope scope{
      state.step(), own_rate == 0.0 ? options.lr() : own_rate, 1.0, 0, workspace_, nullptr,
      layers()};
  const bool rests = rule->rests(known.parameter, scope);
  make_room(state, specs, rests);
  if (rests) return;
  std::vector<at::Tensor> tensors;
  for (std::size_t k = 0; k < specs.size(); ++k) {
    auto& held = state.tensors()[k].second;
    if (rule->forgets(scope)) held.zero_();
    tensors.push_back(specs[k].is_chosen_later() ? held : held.view(specs[k].shape));
  }
  const auto type = at::promote_types(parameter.scalar_type(), at::kFloat);
  const auto weights = parameter.detach().contiguous();  // the parameter itself where it is dense
  const ParameterStep step{known.parameter,
                           known.partition,
                           weights,
                           parameter.grad().detach().to(type).contiguous(),
                           State(std::move(tensors)),
                           options.weight_decay(),
                           nullptr,
                           known.parameter.offset};
  if (const auto* fused = rule->fused(KernelKey::of(step))) {
    fused->apply(step, scope);
  } else {
    rule->update(step, scope);
  }
  if (!weights.is_alias_of(parameter)) parameter.detach().copy_(weights);
}

at::Tensor TorchOptimizer::step(LossClosure closure) {
  const at::NoGradGuard no_grad;
  const auto loss = evaluate(closure);
  for (const auto& group : param_groups_) {
    const auto& options = options_of(group);
    const auto spec = spec_of(options);
    for (const auto& parameter : group.params()) {
      if (has_step(parameter)) update_parameter(parameter, *spec, options);
    }
  }
  return loss;
}

void TorchOptimizer::save(OutputArchive& archive) const {
  torch::optim::serialize<RuleState, RuleOptions>(archive, *this);
}

void TorchOptimizer::load(InputArchive& archive) {
  std::vector<RuleOptions> own;
  for (const auto& group : param_groups_) own.push_back(options_of(group));
  torch::optim::serialize<RuleState, RuleOptions>(archive, *this);
  check_loaded(own);
}

void TorchOptimizer::check_loaded(const std::vector<RuleOptions>& own) const {
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto& saved = options_of(param_groups_[i]);
    require_input(saved.rule() == own[i].rule(),
                  "the saved optimizer has rule '{}' in group {}, this one '{}'", saved.rule(), i,
                  own[i].rule());
    require_input(
        saved.partition() == own[i].partition() && saved.by_role() == own[i].by_role(),
        "the saved optimizer has partition rule '{}' in group {}, this one '{}' (or other "
        "rules by role)",
        saved.partition(), i, own[i].partition());
    const auto spec = spec_of(saved);
    for (const auto& parameter : param_groups_[i].params()) {
      const auto state = state_.find(parameter.unsafeGetTensorImpl());
      if (state == state_.end()) continue;
      const auto& known = described_.at(parameter.unsafeGetTensorImpl());
      const auto rule = spec_for(*spec, known.parameter).build();
      const auto& held = static_cast<const RuleState&>(*state->second);
      for (const auto& wanted : rule->state(known.parameter, known.partition)) {
        const auto& tensor = held.tensor(wanted.name);
        require_input(wanted.may_have(tensor.numel()),
                      "the saved optimizer state '{}' of '{}' has {} values, its partition {}",
                      wanted.name, known.parameter.name, tensor.numel(), wanted.size());
      }
    }
  }
}

}  // namespace blockwise::optim
