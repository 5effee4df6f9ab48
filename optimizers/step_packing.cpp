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
std::vector<kernels::PackedTensor> places(std::span<const ParameterStep> parts) {
  std::vector<kernels::PackedTensor> tensors(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    tensors[i].begin = parts[i].parameter.offset;
    tensors[i].size = parts[i].parameter.size();
  }
  return tensors;
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

bool StepPacking::has_kernels(const std::vector<kernels::FlatSection>& sections) const {
  for (std::size_t i = 0; i < subject_.parts.size(); ++i) {
    for (std::size_t k = 0; k < subject_.state.of(i).size(); ++k) {
      const auto* codec = subject_.state.codec(i, k);
      if (codec != nullptr && (codec->device_format() == nullptr || k > 1)) return false;
    }
  }
  return !has_codec(1) || std::ranges::all_of(sections, [](const auto& section) {
    return section.moment == kernels::FlatSection::Moment::elements &&
           section.value == section.begin;
  });
}

std::vector<kernels::PackedTensor> StepPacking::masters() {
  auto tensors = places(subject_.parts);
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

std::vector<kernels::PackedTensor> StepPacking::state(std::size_t number) {
  auto tensors = places(subject_.parts);
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

// Three elements more, so that a window begins as its elements are aligned.
at::Tensor StepPacking::scratch(bool is_packed, std::int64_t elements) const {
  if (!is_packed) return {};
  return at::empty({elements + 3},
                   at::TensorOptions().dtype(at::kFloat).device(subject_.store.device()));
}

void StepPacking::take_windows(kernels::FlatPlan& plan,
                               const std::vector<kernels::FlatSection>& sections) {
  if (!is_packed()) return;
  plan.packing.windows = kernels::flat_windows(plan, sections, StateCodec::kAlignment, kWindow);
  const auto elements = plan.packing.largest_window();
  w_ = scratch(splits_masters(), elements);
  m_ = scratch(has_codec(0), elements);
  v_ = scratch(has_codec(1), elements);
}

void StepPacking::add_to(kernels::FlatPlan& plan,
                         const std::vector<kernels::FlatSection>& sections) {
  if (!is_packed()) return;
  take_windows(plan, sections);
  auto& packing = plan.packing;
  seeds_.clear();
  if (splits_masters()) {
    const NumberFormat format{device_format(subject_.store.master_format())};
    packing.w = kernels::pack_buffer(format, masters(), packing.windows);
  }
  if (has_codec(0)) {
    packing.m = kernels::pack_buffer(format_of_state(0), state(0), packing.windows);
  }
  if (has_codec(1)) {
    packing.v = kernels::pack_buffer(format_of_state(1), state(1), packing.windows);
  }
  is_random_ = std::ranges::any_of(
      std::initializer_list<const kernels::PackedBuffer*>{&packing.w, &packing.m, &packing.v},
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
