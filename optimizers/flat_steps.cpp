#include "optimizers/flat_steps.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/memory/device.hpp"
#include "core/parameters/parameter_store.hpp"
#include "core/partition/section_blocks.hpp"
#include "optimizers/state/state_store.hpp"

namespace blockwise {
namespace {

using Rates = kernels::FlatSection::Rates;

// Plans of one shape: rates may have other values, but of the same kinds.
bool same_plan(const std::vector<kernels::FlatSection>& a,
               const std::vector<kernels::FlatSection>& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.begin == y.begin && x.rates == y.rates && x.rate == y.rate;
  });
}

}  // namespace

std::unique_ptr<FlatSteps> FlatSteps::make(const FlatSubject& subject,
                                           kernels::MakeFlatStepper& make) {
  std::unique_ptr<FlatSteps> steps(new FlatSteps(subject, make));
  const bool has_kernels = steps->find_sections() && steps->packing_.has_kernels();
  return has_kernels ? std::move(steps) : nullptr;
}

FlatSteps::FlatSteps(const FlatSubject& subject, kernels::MakeFlatStepper& make)
    : subject_(subject), make_(make), packing_(subject) {
  for (const auto& part : subject_.parts)
    weight_decay_ = std::max(weight_decay_, part.weight_decay);
}

bool FlatSteps::find_sections() {
  sections_.clear();
  rates_.clear();
  for (std::size_t i = 0; i < subject_.parts.size(); ++i) {
    const auto& part = subject_.parts[i];
    for (std::size_t k = 0; k < part.partition.sections.size(); ++k) {
      const auto& section = part.partition.sections[k];
      kernels::FlatSection flat;
      flat.begin = part.parameter.offset + section.row_begin * section.columns;
      flat.rows = section.rows;
      flat.columns = section.columns;
      flat.tensor = std::int64_t(i);
      flat.decays = part.weight_decay > 0.0;
      const auto tile = tile_of(section);
      if (!subject_.rule.set_moment(section, flat) || (!tile && part.rates != nullptr))
        return false;
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
  const bool any =
      std::ranges::any_of(subject_.parts, [](const auto& p) { return p.rates != nullptr; });
  if (stepper_ && !any) return;
  const auto before = sections_;
  const auto old_rates = rates_;
  find_sections();
  if (!stepper_ || !same_plan(before, sections_)) {
    auto plan = kernels::make_flat_plan(sections_);
    packing_.add_to(plan, sections_);
    // The stream of the backward pass, so that a step comes after it.
    stepper_ = make_(plan, current_stream(subject_.store.device()));
  }
  if (!device_rates_.defined() || rates_ != old_rates) {
    device_rates_ = at::tensor(at::ArrayRef<float>(rates_), at::kFloat).to(subject_.store.device());
  }
}

void FlatSteps::rehearse() {
  auto plan = kernels::make_flat_plan(sections_);
  packing_.take_memory(plan, sections_);
}

bool FlatSteps::writes_copies() const {
  return subject_.store.flat_copies().defined() || packing_.splits_masters();
}

// Where element 0 of the flat buffer is of which all parameters have a part; null of what is packed
// or not there.
float* FlatSteps::state_data(std::size_t number) const {
  const auto& state = subject_.state;
  if (packing_.has_codec(number) || subject_.parts.empty() || number >= state.of(0).size()) {
    return nullptr;
  }
  return static_cast<float*>(state.of(0).load(number).storage().mutable_data());
}

kernels::FlatBuffers FlatSteps::buffers() const {
  const auto& store = subject_.store;
  const auto data = [](const at::Tensor& x) { return static_cast<float*>(x.data_ptr()); };
  kernels::FlatBuffers buffers;
  if (!packing_.splits_masters()) buffers.w = data(store.parameters());
  buffers.g = data(store.gradients());
  buffers.m = state_data(0);
  buffers.v = state_data(1);
  buffers.rates = data(device_rates_);
  if (store.flat_copies().defined()) {
    buffers.copies = static_cast<std::uint16_t*>(store.flat_copies().data_ptr());
  }
  return buffers;
}

kernels::FlatReport FlatSteps::step(const StepScope& scope, double clip_norm,
                                    const RoundingSeeds& seeds) {
  follow_rates();
  auto buffers = this->buffers();
  packing_.set(buffers, seeds);
  return stepper_->step(subject_.rule.flat_rule(scope, weight_decay_), buffers, clip_norm);
}

}  // namespace blockwise
