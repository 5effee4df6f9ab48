#include "optimizers/flat_steps.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "core/parameters/parameter_store.hpp"
#include "core/partition/section_blocks.hpp"
#include "optimizers/state/state_store.hpp"

namespace blockwise {
namespace {

using Rates = kernels::FlatSection::Rates;

// LibTorch's stream of the device, so that a step comes after the backward pass.
void* current_stream(const at::Device& device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

// Plans of one shape: rates may have other values, but of the same kinds.
bool same_plan(const std::vector<kernels::FlatSection>& a,
               const std::vector<kernels::FlatSection>& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.begin == y.begin && x.rates == y.rates && x.rate == y.rate;
  });
}

}  // namespace

std::unique_ptr<FlatSteps> FlatSteps::make(const FlatStep& rule, const ParameterStore& store,
                                           std::span<const ParameterStep> parts,
                                           const StateStore& state,
                                           kernels::MakeFlatStepper& make) {
  std::unique_ptr<FlatSteps> steps(new FlatSteps(rule, store, parts, state, make));
  return steps->find_sections() ? std::move(steps) : nullptr;
}

FlatSteps::FlatSteps(const FlatStep& rule, const ParameterStore& store,
                     std::span<const ParameterStep> parts, const StateStore& state,
                     kernels::MakeFlatStepper& make)
    : rule_(rule), store_(store), parts_(parts), state_(state), make_(make) {
  for (const auto& part : parts) weight_decay_ = std::max(weight_decay_, part.weight_decay);
}

bool FlatSteps::find_sections() {
  sections_.clear();
  rates_.clear();
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const auto& part = parts_[i];
    for (std::size_t k = 0; k < part.partition.sections.size(); ++k) {
      const auto& section = part.partition.sections[k];
      kernels::FlatSection flat;
      flat.begin = part.parameter.offset + section.row_begin * section.columns;
      flat.rows = section.rows;
      flat.columns = section.columns;
      flat.tensor = std::int64_t(i);
      flat.decays = part.weight_decay > 0.0;
      const auto tile = tile_of(section);
      if (!rule_.set_moment(section, flat) || (!tile && part.rates != nullptr)) return false;
      if (tile) {
        flat.tile_rows = tile->rows;
        flat.tile_columns = tile->columns;
      }
      add_rates(part, k, flat);
      sections_.push_back(flat);
    }
  }
  return true;
}

void FlatSteps::add_rates(const ParameterStep& part, std::size_t section,
                          kernels::FlatSection& flat) {
  if (part.rates == nullptr || (*part.rates)[section].all_one()) return;
  const auto& rate = (*part.rates)[section].rate;
  flat.rates = rate.size() == 1 ? Rates::one : Rates::per_tile;
  flat.rate = std::int64_t(rates_.size());
  for (const double value : rate) rates_.push_back(static_cast<float>(value));
}

// A method may have changed them since the last step.
void FlatSteps::follow_rates() {
  const bool any = std::ranges::any_of(parts_, [](const auto& p) { return p.rates != nullptr; });
  if (stepper_ && !any) return;
  const auto before = sections_;
  const auto old_rates = rates_;
  find_sections();
  if (!stepper_ || !same_plan(before, sections_)) {
    stepper_ = make_(kernels::make_flat_plan(sections_), current_stream(store_.device()));
  }
  if (!device_rates_.defined() || rates_ != old_rates) {
    device_rates_ = at::tensor(at::ArrayRef<float>(rates_), at::kFloat).to(store_.device());
  }
}

std::uint16_t* FlatSteps::copies() const {
  return writes_copies() ? static_cast<std::uint16_t*>(store_.flat_copies().data_ptr()) : nullptr;
}

bool FlatSteps::writes_copies() const { return store_.flat_copies().defined(); }

kernels::FlatBuffers FlatSteps::buffers() const {
  const auto& state = state_.buffers();
  const auto data = [](const at::Tensor& x) { return static_cast<float*>(x.data_ptr()); };
  return {data(store_.parameters()),
          data(store_.gradients()),
          !state.empty() ? data(state[0].second) : nullptr,
          state.size() > 1 ? data(state[1].second) : nullptr,
          data(device_rates_),
          copies()};
}

kernels::FlatReport FlatSteps::step(const StepScope& scope, double clip_norm) {
  follow_rates();
  return stepper_->step(rule_.flat_rule(scope, weight_decay_), buffers(), clip_norm);
}

}  // namespace blockwise
