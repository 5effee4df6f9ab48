#include "optimizers/optimizer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"

namespace blockwise {
namespace {

// Behind the numbers of all tensors of state.
constexpr std::uint64_t kMasterRounding = std::uint64_t{1} << 20;

bool decays(const OptimizerConfig& config, ParameterRole role) {
  return std::ranges::count(config.no_decay, role_name(role)) == 0;
}

// Of every parameter.
std::vector<std::vector<StateSpec>> state_specs(const RuleSet& rules, const ParameterLayout& layout,
                                                const Partition& partition) {
  std::vector<std::vector<StateSpec>> specs;
  for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
    specs.push_back(rules.of(i).rule->state(layout.parameters()[i], partition.tensors()[i]));
  }
  return specs;
}

// Of a file, of which optimizer.rates makes others at every step; nothing where neither is there.
std::optional<BlockRates> first_rates(const OptimizerConfig& config, const ParameterLayout& layout,
                                      const Partition& partition) {
  auto rates = config.make_block_rates(layout, partition);
  if (!rates && !config.rates.is_uniform()) return BlockRates::ones(partition);
  return rates;
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, ParameterStore& store, std::uint64_t seed)
    : Optimizer(config, store, whole_model(store.layout(), config.make_partition(store.layout())),
                seed) {}

Optimizer::Optimizer(const OptimizerConfig& config, ParameterStore& store, ModelShard shard,
                     std::uint64_t seed)
    : store_(store),
      shard_(std::move(shard)),
      partition_(shard_.partition),
      rates_(is_whole() ? first_rates(config, store.layout(), partition_) : std::nullopt),
      rules_(config, store.layout()),
      state_(store.layout(), state_specs(rules_, store.layout(), partition_), store.device(),
             config.state),
      clipping_{config.clip_by == "value" ? Clipping::By::value : Clipping::By::norm,
                config.gradient_clip},
      seed_(seed),
      part_(store.layout().parameters().size()),
      coded_(store, rules_, partition_, state_, rates_.has_value()),
      moved_(store.layout().parameters().size(), 0.0),
      moved_on_device_(store.layout().parameters().size()) {
  require_shardable(config);
  if (store.releases_gradients()) {
    require_local_rules("trainer.gradients is released",
                        "needs the gradients of several tensors at once");
    for (std::size_t i = 0; i < part_.size(); ++i) {
      require_input(!wants_curvature(i),
                    "trainer.gradients is released, but optimizer.rule '{}' takes an estimate of "
                    "the curvature, which needs all gradients of a backward pass of its own",
                    rules_.of(i).name);
    }
  }
  if (state_.has_codecs()) {
    require_local_rules("optimizer.state is not fp32",
                        "needs the state of several tensors at once");
  }
  if (store.splits_masters()) {
    require_local_rules("trainer.master_weights is not fp32",
                        "needs the weights of several tensors at once");
  }
  if (!config.rates.is_uniform()) {
    rate_method_.emplace(config.rates, config.learning_rate, store.layout(), partition_, *rates_);
  }
  for (std::size_t m = 0; m < rules_.members().size(); ++m) {
    auto& parts = parts_.emplace_back();
    for (const auto i : rules_.members()[m].parameters) {
      part_[i] = {m, parts.size()};
      parts.push_back(make_step(config, i));
    }
  }
  assign_tensors();
  make_square_sums();
  if (!store.device().is_cuda()) return;
  if (*kernels::why_no_cuda_stepper() == '\0') use_flat_steps(kernels::make_cuda_stepper);
  if (!flat_) use_stacked_steps();
}

bool Optimizer::use_flat_steps(kernels::MakeFlatStepper& make) {
  flat_.reset();
  if (const auto* rule = flat_rule()) {
    const auto& parts = parts_[part_.front().first];
    flat_ = FlatSteps::make({*rule, store_, parts, state_, coded_}, make);
  }
  return flat_ != nullptr;
}

// Of all parameters, with a flat step that their memory allows; null where there is none.
const FlatStep* Optimizer::flat_rule() const {
  const bool is_there = is_whole() && !store_.releases_gradients() && store_.pages() == nullptr &&
                        !state_.is_bounded() && store_.master_options().dtype() == at::kFloat;
  if (!is_there || clipping_.by == Clipping::By::value || part_.empty()) return nullptr;
  const auto member = part_.front().first;
  const auto* rule = dynamic_cast<const FlatStep*>(rules_.members()[member].rule.get());
  const bool takes_all = parts_[member].size() == part_.size();
  return takes_all && rule != nullptr && rule->has_flat_step() ? rule : nullptr;
}

bool Optimizer::use_stacked_steps() {
  stacked_.reset();
  if (store_.releases_gradients() || store_.splits_masters() || store_.pages() != nullptr ||
      state_.is_bounded()) {
    return false;
  }
  std::vector<bool> coded;
  for (std::size_t i = 0; i < part_.size(); ++i) coded.push_back(coded_.has(i));
  stacked_.emplace(rules_, parts_, coded);
  if (stacked_->stacks().empty()) stacked_.reset();
  return stacked_.has_value();
}

ParameterStep Optimizer::make_step(const OptimizerConfig& config, std::size_t i) const {
  const auto& parameter = store_.layout().parameters()[i];
  return {parameter,
          partition_.tensors()[i],
          store_.splits_masters() ? at::Tensor() : store_.master(i),
          store_.releases_gradients() ? at::Tensor() : store_.gradient(i),
          state_.of(i),
          decays(config, parameter.role) ? config.weight_decay : 0.0,
          rates_ ? &rates_->tensors[i] : nullptr,
          shard_.first_elements[i]};
}

void Optimizer::require_local_rules(std::string_view setting, std::string_view need) const {
  for (std::size_t i = 0; i < part_.size(); ++i) {
    const auto& member = rules_.of(i);
    require_input(member.rule->traits(partition_.tensors()[i]).local,
                  "{}, but optimizer.rule '{}' {} for '{}'", setting, member.name, need,
                  store_.layout().parameters()[i].name);
  }
}

void Optimizer::require_shardable(const OptimizerConfig& config) const {
  if (is_whole()) return;
  require_local_rules("parallel.shard is not none", "needs several tensors at once");
  require_input(config.block_lr.empty() && config.rates.is_uniform(),
                "parallel.shard is not none, but blocks have rates of their own (optimizer.{})",
                config.rates.is_uniform() ? "block_lr" : "rates");
  for (std::size_t i = 0; i < part_.size(); ++i) {
    const auto specs =
        rules_.of(i).rule->state(store_.layout().parameters()[i], partition_.tensors()[i]);
    const bool is_fixed = std::ranges::none_of(
        specs, [](const auto& spec) { return spec.is_chosen_later() || spec.turn >= 0; });
    require_input(is_fixed,
                  "parallel.shard is not none, but optimizer.rule '{}' decides while it runs what "
                  "it keeps",
                  rules_.of(i).name);
  }
}

// Whether nothing but its own memory is read and written for a tensor.
bool Optimizer::is_apart(std::size_t i) const {
  if (store_.releases_gradients() || store_.splits_masters() || state_.is_bounded()) return false;
  const auto& part = parts_[part_[i].first][part_[i].second];
  if (coded_.has(i) && !coded_.is_cut(i)) return false;
  return rules_.of(i).rule->fused(KernelKey::of(part)) != nullptr;
}

void Optimizer::assign_tensors() {
  std::vector<std::int64_t> sizes;
  std::vector<bool> apart;
  for (std::size_t i = 0; i < part_.size(); ++i) {
    sizes.push_back(store_.layout().parameters()[i].size());
    apart.push_back(is_apart(i));
  }
  threads_.emplace(sizes, apart, std::size_t(at::get_num_threads()));
  coded_.assign(threads_->thread_of());
}

void Optimizer::make_square_sums() {
  const bool cuts = clipping_.by == Clipping::By::value && clipping_.bound > 0.0;
  if (store_.releases_gradients() || store_.splits_masters() || cuts) return;
  std::vector<std::vector<double>> sums(part_.size());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < part_.size(); ++i) {
    const auto& part = parts_[part_[i].first][part_[i].second];
    const auto* fused = rules_.of(i).rule->fused(KernelKey::of(part));
    if (fused == nullptr || coded_.has(i)) continue;
    sums[i].resize(std::size_t(fused->square_sums(part.partition)));
    count += std::int64_t(sums[i].size());
  }
  if (count > 0) square_sums_ = std::move(sums);
}

void Optimizer::over_tensors(const std::function<void(std::size_t, kernels::Workspace&)>& task) {
  if (!fused_) {
    for (std::size_t i = 0; i < part_.size(); ++i) task(i, workspace_);
    return;
  }
  if (std::ssize(threads_->by_thread) != at::get_num_threads()) assign_tensors();
  kernels::side_by_side(std::ssize(threads_->by_thread), [&](std::int64_t thread, auto& space) {
    const at::NoGradGuard no_grad;  // the mode of each thread
    for (const auto i : threads_->by_thread[std::size_t(thread)]) task(i, space);
  });
  for (const auto i : threads_->by_all) task(i, workspace_);
}

double Optimizer::squared_norm() {
  if (!fused_ || square_sums_.empty()) return squared_norm(store_.gradients());
  std::vector<double> squares(part_.size(), 0.0);
  over_tensors([&](std::size_t i, auto& space) { squares[i] = sum_squares(i, space); });
  return std::accumulate(squares.begin(), squares.end(), 0.0);
}

double Optimizer::sum_squares(std::size_t i, kernels::Workspace& space) {
  auto& part = parts_[part_[i].first][part_[i].second];
  auto& sums = square_sums_[i];
  if (sums.empty()) return squared_norm(part.gradient, space);
  part.squares = sums.data();
  return rules_.of(i).rule->fused(KernelKey::of(part))->sum_squares(part, sums.data(), space);
}

double Optimizer::squared_norm(const at::Tensor& gradient, kernels::Workspace& space) const {
  if (fused_ && gradient.is_cpu() && gradient.scalar_type() == at::kFloat &&
      gradient.is_contiguous()) {
    return kernels::squared_norm(gradient.data_ptr<float>(), gradient.numel(), space);
  }
  return gradient.to(at::kDouble).square().sum().item<double>();
}

// The device finds the norm, so the step is counted before it is known whether it is made.
StepReport Optimizer::flat_step(double learning_rate) {
  begin_step(learning_rate);
  const RoundingSeeds seeds{[this](std::size_t i) { return rounding_seed(i); },
                            [this](std::size_t i) { return master_seed(i); }};
  const auto report = flat_->step(scope(rules_.of(0)), clipping_.bound, seeds);
  squared_gradient_ = report.squared_norm;
  gradient_scale_ = double(report.gradient_scale);
  moved_ = report.moved;
  if (!std::isfinite(report.squared_norm)) {
    --steps_;
    return {std::sqrt(report.squared_norm), 0.0};
  }
  for (std::size_t i = 0; i < part_.size() && !flat_->writes_copies(); ++i) {
    store_.publish(i, master_seed(i));
  }
  return end_step();
}

StepReport Optimizer::step(double learning_rate) {
  at::NoGradGuard no_grad;
  if (flat_) return flat_step(learning_rate);
  const double square = shard_.total(squared_norm());
  if (!std::isfinite(square)) {
    std::ranges::fill(moved_, 0.0);
    std::ranges::fill(moved_on_device_, at::Tensor());
    return {std::sqrt(square), 0.0};
  }
  begin_step(learning_rate, clipping_.scale(std::sqrt(square)));
  squared_gradient_ = square;
  clipping_.cut(store_.gradients());
  for (std::size_t m = 0; m < parts_.size(); ++m) {
    const auto& member = rules_.members()[m];
    member.rule->begin_step(parts_[m], scope(member));
  }
  take_stacked_steps();
  over_tensors([this](std::size_t i, auto& space) {
    if (!stacked_ || !stacked_->has(i)) update_parameter(i, space);
  });
  return end_step();
}

void Optimizer::take_stacked_steps() {
  if (!stacked_) return;
  for (const auto& stack : stacked_->stacks()) {
    const auto& member = rules_.members()[stack.member];
    const auto moved =
        StackedSteps::run(*member.rule, parts_[stack.member], stack, scope(member)).unbind(0);
    for (std::size_t k = 0; k < moved.size(); ++k) {
      const auto i = member.parameters[stack.places[k]];
      moved_on_device_[i] = moved[k];
      store_.publish(i, master_seed(i));
    }
  }
}

void Optimizer::begin_step(double learning_rate, double gradient_scale) {
  ++steps_;
  learning_rate_ = learning_rate;
  gradient_scale_ = gradient_scale;
  squared_gradient_ = 0.0;
  std::ranges::fill(moved_, 0.0);
  std::ranges::fill(moved_on_device_, at::Tensor());
  forget();
  if (!rate_method_) return;
  const at::NoGradGuard no_grad;
  rate_method_->set(*rates_, steps_, learning_rate,
                    [this](std::size_t parameter) { return store_.master(parameter); });
}

void Optimizer::forget() {
  at::NoGradGuard no_grad;
  for (const auto& member : rules_.members()) {
    if (!member.rule->forgets(scope(member))) continue;
    for (const auto i : member.parameters) state_.clear(i);
    state_.evict();  // written behind the pages' back
  }
}

void Optimizer::update(std::size_t i, const at::Tensor& gradient) {
  at::NoGradGuard no_grad;
  const double square = squared_norm(gradient);
  squared_gradient_ += square;
  if (!std::isfinite(square)) return;
  clipping_.cut(gradient);
  auto& part = parts_[part_[i].first][part_[i].second];
  part.gradient = gradient;
  update_parameter(i, workspace_);
  part.gradient.reset();
}

StepScope Optimizer::scope(const RuleSet::Member& member, kernels::Workspace& space) {
  return {steps_, learning_rate_ * member.rate, gradient_scale_, seed_, space,
          draws_, shard_.model_layers};
}

std::uint64_t Optimizer::rounding_seed(std::size_t i) const {
  return stream_seed(seed_, RandomStream::rounding, static_cast<std::uint64_t>(steps_),
                     shard_.numbers[i]);
}

std::uint64_t Optimizer::master_seed(std::size_t i) const {
  return stream_seed(rounding_seed(i), RandomStream::rounding, kMasterRounding, 0);
}

void Optimizer::update_parameter(std::size_t i, kernels::Workspace& space) {
  const auto& member = rules_.of(i);
  auto& part = parts_[part_[i].first][part_[i].second];
  const auto scope = this->scope(member, space);
  if (member.rule->rests(part.parameter, scope)) return;
  part.weight = store_.open_master(i);
  const auto* fused = fused_ ? member.rule->fused(KernelKey::of(part)) : nullptr;
  const auto step = [&](const ParameterStep& piece) {
    if (fused != nullptr) {
      moved_[i] += fused->apply(piece, scope);
    } else {
      const auto moved = member.rule->update(piece, scope);
      auto& sum = moved_on_device_[i];
      sum = sum.defined() ? sum + moved : moved;
    }
  };
  over_pieces(i, coded_.has(i) ? rounding_seed(i) : 0, std::cref(step));
  part.squares = nullptr;
  store_.publish(i, store_.splits_masters() ? master_seed(i) : 0);
}

void Optimizer::rehearse_update(std::size_t i, const at::Tensor& gradient, at::DeviceType device) {
  const at::NoGradGuard no_grad;
  const auto& rule = *rules_.of(i).rule;
  const bool has_kernel =
      device != at::kCUDA && rule.fused({device, at::kFloat, gradient.scalar_type()}) != nullptr;
  if (has_kernel) return;
  if (device == at::kCUDA && (flat_ || rehearse_stack(i))) return;
  auto& part = parts_[part_[i].first][part_[i].second];
  auto scope = this->scope(rules_.of(i));
  scope.step = 1;
  // Also where the rule throws: a gradient that is left here would count as memory.
  struct Restored {
    ParameterStep& part;
    at::Tensor weight = part.weight, gradient = part.gradient;
    ~Restored() {
      part.weight = weight;
      part.gradient = gradient;
    }
  } const restored{part};
  part.weight = store_.open_master(i);
  part.gradient = gradient;
  over_pieces(i, 0, [&](const ParameterStep& piece) { rule.update(piece, scope); });
}

void Optimizer::rehearse_first(at::DeviceType device) {
  if (device == at::kCUDA && use_flat_steps(kernels::make_cuda_stepper)) flat_->rehearse();
}

// Whether the parameter steps in a stack; that is made once, with its first.
bool Optimizer::rehearse_stack(std::size_t i) {
  if (!stacked_ && !use_stacked_steps()) return false;
  auto scope = this->scope(rules_.of(i));
  scope.step = 1;
  for (const auto& stack : stacked_->stacks()) {
    const bool is_first = stack.member == part_[i].first && stack.places.front() == part_[i].second;
    if (is_first) StackedSteps::run(*rules_.of(i).rule, parts_[stack.member], stack, scope);
  }
  return stacked_->has(i);
}

void Optimizer::over_pieces(std::size_t i, std::uint64_t rounding,
                            const std::function<void(const ParameterStep&)>& step) {
  const auto& part = parts_[part_[i].first][part_[i].second];
  state_.begin_use(i);
  if (coded_.has(i)) {
    coded_.run(i, part, rounding, step);
  } else {
    step(part);
  }
  state_.end_use(i);
}

bool Optimizer::wants_curvature(std::size_t i) const {
  const auto every = rules_.of(i).rule->traits(partition_.tensors()[i]).curvature_every;
  return every > 0 && steps_ % every == 0;
}

// By the rules, not by their tensors here: processes that share a model agree on what they sum,
// those too whose share has no tensor.
bool Optimizer::wants_curvature() const {
  return std::ranges::any_of(rules_.members(), [this](const RuleSet::Member& member) {
    if (is_whole() && member.parameters.empty()) return false;
    const auto every = member.rule->traits({}).curvature_every;
    return every > 0 && steps_ % every == 0;
  });
}

void Optimizer::learn_curvature() {
  const at::NoGradGuard no_grad;
  if (!std::isfinite(shard_.total(squared_norm(store_.gradients())))) return;
  for (std::size_t i = 0; i < part_.size(); ++i) {
    if (!wants_curvature(i)) continue;
    parts_[part_[i].first][part_[i].second].weight = store_.open_master(i);
    // Other numbers than those of the steps before and after.
    const auto rounding =
        stream_seed(seed_, RandomStream::rounding, static_cast<std::uint64_t>(steps_),
                    std::uint64_t(shard_.model_tensors) + shard_.numbers[i]);
    over_pieces(i, rounding,
                [&](const ParameterStep& piece) { rules_.of(i).rule->learn_curvature(piece); });
  }
}

StepReport Optimizer::end_step() {
  const auto squares = squared_updates();
  const double moved = std::accumulate(squares.begin(), squares.end(), 0.0);
  return {std::sqrt(squared_gradient_), std::sqrt(shard_.total(moved))};
}

std::vector<double> Optimizer::squared_updates() const {
  std::vector<at::Tensor> on_device;
  std::ranges::copy_if(moved_on_device_, std::back_inserter(on_device), &at::Tensor::defined);
  if (on_device.empty()) return moved_;
  const auto values = at::stack(on_device).cpu();  // the device is waited for once
  const auto* next = values.const_data_ptr<double>();
  auto squares = moved_;
  for (std::size_t i = 0; i < squares.size(); ++i) {
    if (moved_on_device_[i].defined()) squares[i] = *next++;
  }
  return squares;
}

std::vector<double> Optimizer::learning_rates() const {
  std::vector<double> rates;
  for (std::size_t i = 0; i < part_.size(); ++i) {
    const double mean = rates_ ? rates_->mean(i, partition_.tensors()[i]) : 1.0;
    rates.push_back(learning_rate_ * rules_.of(i).rate * mean);
  }
  return rates;
}

NamedTensors Optimizer::saved_state() const {
  auto tensors = state_.by_parameter();
  if (rate_method_) {
    for (auto& tensor : rate_method_->state()) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

void Optimizer::load_state(std::int64_t steps, const NamedTensors& saved) {
  if (rate_method_) rate_method_->load(saved);
  state_.load(saved);
  steps_ = steps;
}

}  // namespace blockwise
