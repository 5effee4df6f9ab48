#include "optimizers/optimizer.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/checked_math.hpp"
#include "core/error.hpp"
#include "core/memory_meter.hpp"
#include "optimizers/block_rate_steps.hpp"

namespace blockwise {
namespace {

std::int64_t extent_of(StateKind::Extent extent, const TensorPartition& partition,
                       const ParameterBlock& block) {
  if (extent == StateKind::Extent::per_parameter) return block.size();
  std::int64_t size = 0;
  for (const auto& section : partition.sections) size += section.state_size();
  return size;
}

std::int64_t offset_of(StateKind::Extent extent, const TensorPartition& partition,
                       const ParameterBlock& block) {
  return extent == StateKind::Extent::per_parameter ? block.offset
                                                    : partition.sections.front().state_offset;
}

// Of every kind of state: values.
std::vector<std::int64_t> state_sizes(const UpdateRule& rule, const ParameterLayout& layout,
                                      const Partition& partition) {
  std::vector<std::int64_t> sizes;
  for (const auto& kind : rule.state()) {
    const bool full = kind.extent == StateKind::Extent::per_parameter;
    sizes.push_back(full ? layout.size() : partition.state_size());
  }
  return sizes;
}

void require_memory(const std::vector<std::int64_t>& sizes, at::Device device) {
  std::int64_t bytes = 0;
  for (const auto size : sizes) {
    const std::int64_t of_kind = checked_product("bytes of the optimizer", {size, 4});
    bytes = checked_sum("bytes of the optimizer", bytes, of_kind);
  }
  require_available(bytes, device, "the optimizer's state");
}

bool decays(const OptimizerConfig& config, ParameterRole role) {
  const auto& exempt = config.no_decay;
  return std::find(exempt.begin(), exempt.end(), role_name(role)) == exempt.end();
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, ParameterStore& store)
    : config_(config),
      store_(store),
      partition_(config.make_partition(store.layout())),
      rule_(config.spec->build()),
      rates_(config.make_block_rates(store.layout(), partition_)),
      fused_(store.device().is_cpu() && store.parameters().scalar_type() == at::kFloat) {
  const auto options = store.parameters().options().dtype(at::kFloat);
  const auto sizes = state_sizes(*rule_, store.layout(), partition_);
  require_memory(sizes, store.device());
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    state_.emplace_back(rule_->state()[k].name, at::zeros({sizes[k]}, options));
  }
  for (std::size_t i = 0; i < store.layout().blocks().size(); ++i) {
    const auto& block = store.layout().blocks()[i];
    const auto& partition = partition_.tensors()[i];
    BlockUpdate update{block, partition, store.master(i), store.gradient(i), {}};
    for (std::size_t k = 0; k < state_.size(); ++k) {
      const auto extent = rule_->state()[k].extent;
      update.state.push_back(state_[k].second.narrow(0, offset_of(extent, partition, block),
                                                     extent_of(extent, partition, block)));
    }
    blocks_.push_back(std::move(update));
    weight_decay_.push_back(decays(config, block.role) ? config.weight_decay : 0.0);
  }
  collect_merged();
}

// Views of the sections that share a value, by the number that they have in the partition.
void Optimizer::collect_merged() {
  const auto kinds = rule_->state();
  const auto moment =
      std::ranges::find(kinds, StateKind::Extent::per_partition_value, &StateKind::extent);
  if (moment == kinds.end()) return;
  const auto& values = state_[static_cast<std::size_t>(moment - kinds.begin())].second;
  std::map<std::int64_t, std::vector<MergedSection>> by_number;
  for (const auto& update : blocks_) {
    for (const auto& s : update.partition.sections) {
      if (s.merged < 0) continue;
      const auto gradient = update.gradient.view({-1}).narrow(0, s.row_begin * s.columns, s.size());
      by_number[s.merged].push_back({gradient, values.narrow(0, s.state_offset, 1)});
    }
  }
  for (auto& [number, sections] : by_number) merged_.push_back(std::move(sections));
}

StepReport Optimizer::step(double learning_rate) {
  at::NoGradGuard no_grad;
  const auto& gradients = store_.gradients();
  const double square =
      fused_ ? kernels::squared_norm(gradients.data_ptr<float>(), gradients.numel(), workspace_)
             : gradients.to(at::kDouble).square().sum().item<double>();
  StepReport report{std::sqrt(square), 0.0};
  moved_.assign(blocks_.size(), 0.0);
  moved_on_device_.clear();
  if (!std::isfinite(report.gradient_norm)) return report;
  StepInfo info{++steps_, learning_rate, 0.0, 1.0};
  if (config_.gradient_clip > 0.0) {
    // As torch.nn.utils.clip_grad_norm_: the 1e-6 keeps a zero gradient finite.
    info.gradient_scale = std::min(1.0, config_.gradient_clip / (report.gradient_norm + 1e-6));
  }
  report.update_norm = std::sqrt(update_all(info));
  return report;
}

bool Optimizer::scales(std::size_t i) const {
  return rates_ && !std::ranges::all_of(rates_->tensors[i], &SectionRates::all_one);
}

at::Tensor Optimizer::keep(std::size_t i) {
  const auto& w = blocks_[i].parameter;
  if (!before_.defined()) {
    std::int64_t most = 0;
    for (const auto& block : blocks_) most = std::max(most, block.parameter.numel());
    before_ = at::empty({most}, w.options());
  }
  const auto kept = before_.narrow(0, 0, w.numel());
  kept.copy_(w.view({-1}));
  return kept;
}

double Optimizer::update_fused(std::size_t i, const StepInfo& info) {
  if (!scales(i)) return rule_->update_cpu(blocks_[i], info, workspace_);
  const auto before = keep(i);
  rule_->update_cpu(blocks_[i], info, workspace_);
  return scale_step_cpu(before, blocks_[i].parameter, blocks_[i].partition, rates_->tensors[i],
                        workspace_);
}

at::Tensor Optimizer::update_tensors(std::size_t i, const StepInfo& info) {
  if (!scales(i)) return rule_->update_tensors(blocks_[i], info);
  const auto before = keep(i);
  rule_->update_tensors(blocks_[i], info);
  return scale_step_tensors(before, blocks_[i].parameter, blocks_[i].partition, rates_->tensors[i]);
}

double Optimizer::update_all(const StepInfo& common) {
  double moved = 0.0;
  at::Tensor moved_on_device;
  for (const auto& sections : merged_) rule_->update_merged(sections, common, workspace_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    StepInfo info = common;
    info.weight_decay = weight_decay_[i];
    if (fused_) {
      moved_[i] = update_fused(i, info);
      moved += moved_[i];
    } else {
      const auto square = update_tensors(i, info);
      moved_on_device_.push_back(square);
      moved_on_device = moved_on_device.defined() ? moved_on_device + square : square;
    }
    store_.publish(i);
  }
  return fused_ ? moved : moved_on_device.item<double>();
}

std::vector<double> Optimizer::squared_updates() const {
  if (moved_on_device_.empty()) return moved_;
  std::vector<double> squares;
  for (const auto& square : moved_on_device_) squares.push_back(square.item<double>());
  return squares;
}

std::vector<std::pair<std::string, std::int64_t>> Optimizer::state_bytes() const {
  std::vector<std::pair<std::string, std::int64_t>> bytes;
  for (const auto& [name, tensor] : state_) {
    bytes.emplace_back(name, static_cast<std::int64_t>(tensor.nbytes()));
  }
  return bytes;
}

void Optimizer::load_state(std::int64_t steps,
                           const std::vector<std::pair<std::string, at::Tensor>>& saved) {
  std::vector<at::Tensor> checked;  // nothing is copied before everything has been found right
  for (const auto& [name, tensor] : state_) {
    const auto found = std::find_if(saved.begin(), saved.end(), [&, key = name](const auto& entry) {
      return entry.first == key;
    });
    require_input(found != saved.end(), "the saved optimizer state has no '{}'", name);
    const auto& values = found->second;
    require_input(values.scalar_type() == tensor.scalar_type(),
                  "the saved optimizer state '{}' is {}, {} is needed", name,
                  c10::toString(values.scalar_type()), c10::toString(tensor.scalar_type()));
    require_input(values.numel() == tensor.numel(),
                  "the saved optimizer state '{}' has {} values, {} are needed: was the partition "
                  "another one?",
                  name, values.numel(), tensor.numel());
    checked.push_back(values);
  }
  for (std::size_t i = 0; i < checked.size(); ++i) state_[i].second.copy_(checked[i].reshape({-1}));
  steps_ = steps;
}

}  // namespace blockwise
