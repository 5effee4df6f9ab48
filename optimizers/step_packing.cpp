#include "optimizers/step_packing.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/parameters/parameter_store.hpp"
#include "optimizers/coded_steps.hpp"
#include "optimizers/state/state_store.hpp"
#include "optimizers/state/stored_numbers.hpp"

namespace blockwise {
namespace {

// Elements that are float32 at a time: 16 MiB of each buffer, which the caches of a device hold.
constexpr std::int64_t kWindow = std::int64_t{1} << 22;

bool is_random(NumberFormat::Kind kind) {
  return kind == NumberFormat::Kind::bf16 || kind == NumberFormat::Kind::stochastic_master;
}

// All tensors, without where they are kept.
std::vector<kernels::PackedTensor> element_places(std::span<const ParameterStep> parts) {
  std::vector<kernels::PackedTensor> tensors(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    tensors[i].begin = parts[i].parameter.offset;
    tensors[i].size = parts[i].parameter.size();
  }
  return tensors;
}

// The same of the second moments that their blocks share.
std::vector<kernels::PackedTensor> value_places(std::span<const ParameterStep> parts) {
  std::vector<kernels::PackedTensor> tensors(parts.size());
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    tensors[i].begin = begin;
    for (const auto& section : parts[i].partition.sections) tensors[i].size += section.state_size();
    begin += tensors[i].size;
  }
  return tensors;
}

// Whether values lie as the elements do.
bool is_per_element(const kernels::FlatSection& section) {
  return section.moment == kernels::FlatSection::Moment::elements && section.value == section.begin;
}

float* data(const at::Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

}  // namespace

bool StepPacking::splits_masters() const { return subject_.store.splits_masters(); }

bool StepPacking::has_codec(std::size_t number) const {
  for (std::size_t i = 0; i < subject_.parts.size(); ++i) {
    const auto& state = subject_.state;
    if (number < state.of(i).size() && state.codec(i, number) != nullptr) return true;
  }
  return false;
}

bool StepPacking::has_kernels() const {
  for (std::size_t i = 0; i < subject_.parts.size(); ++i) {
    for (std::size_t k = 0; k < subject_.state.of(i).size(); ++k) {
      const auto* codec = subject_.state.codec(i, k);
      if (codec != nullptr && (codec->device_format() == nullptr || k > 1)) return false;
    }
  }
  return true;
}

std::vector<kernels::PackedTensor> StepPacking::masters() {
  auto tensors = element_places(subject_.parts);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto& tensor = tensors[i];
    tensor.first_seed = std::ssize(seeds_);
    seeds_.push_back({i, std::nullopt});
    if (const auto* split = subject_.store.split(i)) {
      tensor.stored = stored_numbers({split->weight, split->residual});
    } else {
      tensor.plain = subject_.store.master(i).data_ptr<float>();
    }
  }
  return tensors;
}

std::vector<kernels::PackedTensor> StepPacking::state(std::size_t number,
                                                      std::vector<kernels::PackedTensor> tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto& tensor = tensors[i];
    if (subject_.state.codec(i, number) == nullptr) {
      tensor.plain = subject_.state.of(i).load(number).data_ptr<float>();
      continue;
    }
    tensor.stored = stored_numbers(subject_.state.stored(i, number));
    tensor.parts = subject_.coded.begins(i, number);
    tensor.first_seed = std::ssize(seeds_);
    for (const auto begin : tensor.parts) seeds_.push_back({i, number, begin});
  }
  return tensors;
}

NumberFormat StepPacking::format_of_state(std::size_t number) const {
  for (std::size_t i = 0; i < subject_.parts.size(); ++i) {
    const auto* codec = subject_.state.codec(i, number);
    if (codec != nullptr) return *codec->device_format();
  }
  return {};
}

at::Tensor StepPacking::memory(std::int64_t numbers) const {
  return at::empty({numbers},
                   at::TensorOptions().dtype(at::kFloat).device(subject_.store.device()));
}

void StepPacking::take_memory(kernels::FlatPlan& plan,
                              const std::vector<kernels::FlatSection>& sections) {
  const bool has_v = has_codec(1);
  shares_values_ = has_v && !std::ranges::all_of(sections, is_per_element);
  if (shares_values_) {
    const auto last = value_places(subject_.parts).back();
    v_ = memory(last.begin + last.size);
  }
  const bool has_v_windows = has_v && !shares_values_;
  if (!splits_masters() && !has_codec(0) && !has_v_windows) return;
  plan.packing.windows = kernels::flat_windows(plan, sections, StateCodec::kAlignment, kWindow);
  // Three elements more, so that a window begins as its elements are aligned.
  const auto elements = plan.packing.largest_window() + 3;
  if (splits_masters()) w_ = memory(elements);
  if (has_codec(0)) m_ = memory(elements);
  if (has_v_windows) v_ = memory(elements);
}

void StepPacking::add_to(kernels::FlatPlan& plan,
                         const std::vector<kernels::FlatSection>& sections) {
  take_memory(plan, sections);
  auto& packing = plan.packing;
  seeds_.clear();
  if (w_.defined()) {
    const NumberFormat format{device_format(subject_.store.master_format())};
    packing.w = kernels::pack_buffer(format, masters(), packing.windows);
  }
  if (m_.defined()) {
    packing.m = kernels::pack_buffer(format_of_state(0), state(0, element_places(subject_.parts)),
                                     packing.windows);
  }
  if (shares_values_) {
    packing.shared = kernels::pack_buffer(
        format_of_state(1), state(1, value_places(subject_.parts)), {{0, v_.numel(), 0, 0}});
  } else if (v_.defined()) {
    packing.v = kernels::pack_buffer(format_of_state(1), state(1, element_places(subject_.parts)),
                                     packing.windows);
  }
  is_random_ = std::ranges::any_of(
      std::initializer_list<const kernels::PackedBuffer*>{&packing.w, &packing.m, &packing.v,
                                                          &packing.shared},
      [](const auto* x) { return x->is_packed() && is_random(x->format.kind); });
}

void StepPacking::draw(const RoundingSeeds& seeds) {
  std::vector<std::int64_t> drawn;
  for (const auto& [parameter, number, begin] : seeds_) {
    const auto seed = number ? StateStore::rounding_seed(seeds.of_state(parameter), *number, begin)
                             : seeds.of_master(parameter);
    drawn.push_back(static_cast<std::int64_t>(seed));
  }
  const auto here = at::tensor(at::ArrayRef<std::int64_t>(drawn), at::kLong);
  // From pinned memory, so that the host does not wait for what the device is at.
  const auto device = subject_.store.device();
  device_seeds_ = device.is_cpu() ? here : here.pin_memory().to(device, at::kLong, true);
}

void StepPacking::set(kernels::FlatBuffers& buffers, const RoundingSeeds& seeds) {
  if (w_.defined()) buffers.w = data(w_);
  if (m_.defined()) buffers.m = data(m_);
  if (v_.defined()) buffers.v = data(v_);
  if (!is_random_) return;
  draw(seeds);
  buffers.seeds = static_cast<const std::uint64_t*>(device_seeds_.data_ptr());
}

}  // namespace blockwise
