#include "core/parameters/parameter_store.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/memory/memory_meter.hpp"

namespace blockwise {

namespace {

// Per tensor of the layout: computed with as it is.
std::vector<bool> kept_tensors(const ParameterLayout& layout,
                               const std::optional<MixedPrecision>& mixed) {
  std::vector<bool> kept(layout.parameters().size(), !mixed);
  if (!mixed) return kept;
  for (const auto& name : mixed->keep_tensors) kept[layout.index_of(name)] = true;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (std::ranges::count(mixed->keep, layout.parameters()[i].role) > 0) kept[i] = true;
  }
  return kept;
}

// Parameters and gradients, and the copies that mixed precision computes with.
void require_memory(const ParameterLayout& layout, const at::TensorOptions& options,
                    const std::vector<bool>& kept, Gradients gradients) {
  const auto width = static_cast<std::int64_t>(options.dtype().itemsize());
  std::int64_t bytes = (gradients == Gradients::kept ? 2 : 1) * width * layout.size();
  for (std::size_t i = 0; i < kept.size(); ++i)
    bytes += kept[i] ? 0 : 2 * layout.parameters()[i].size();
  require_available(bytes, options.device(),
                    fmt::format("a model of {} parameters", layout.size()));
}

}  // namespace

ParameterStore::ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype,
                               const std::optional<MixedPrecision>& mixed, Gradients gradients)
    : layout_(std::move(layout)) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const auto kept = kept_tensors(layout_, mixed);
  require_memory(layout_, options, kept, gradients);
  parameters_ = at::zeros({layout_.size()}, options);
  if (gradients == Gradients::kept) gradients_ = at::zeros({layout_.size()}, options);
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) {
    masters_.push_back(view(parameters_, i));
    if (gradients_.defined()) gradient_views_.push_back(view(gradients_, i));
    const auto& parameter = layout_.parameters()[i];
    // detach() makes a leaf that shares the storage of the flat buffer.
    auto tensor =
        kept[i] ? masters_[i].detach() : at::zeros(parameter.shape, options.dtype(at::kBFloat16));
    tensor.requires_grad_(true);
    if (tensor.scalar_type() != dtype) tensor.set_grad_dtype(dtype);
    if (gradients_.defined()) tensor.mutable_grad() = gradient_views_[i];
    tensors_.push_back(std::move(tensor));
  }
}

at::Tensor ParameterStore::view(const at::Tensor& flat, std::size_t parameter) const {
  const auto& b = layout_.parameters()[parameter];
  return flat.narrow(0, b.offset, b.size()).view(b.shape);
}

bool ParameterStore::has_copy(std::size_t parameter) const {
  return tensors_[parameter].scalar_type() != parameters_.scalar_type();
}

void ParameterStore::publish(std::size_t parameter) {
  if (!has_copy(parameter)) return;
  at::NoGradGuard no_grad;
  tensors_[parameter].copy_(masters_[parameter]);
}

void ParameterStore::publish() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) publish(i);
}

std::int64_t ParameterStore::compute_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& tensor : tensors_) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::int64_t ParameterStore::master_bytes() const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < masters_.size(); ++i) {
    if (has_copy(i)) bytes += static_cast<std::int64_t>(masters_[i].nbytes());
  }
  return bytes;
}

void ParameterStore::initialize(std::uint64_t seed) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& parameter = layout_.parameters()[i];
    auto draw = at::empty(parameter.shape, at::kFloat);
    auto generator = make_generator(seed, RandomStream::init, i);
    const double scale = parameter.initialization.scale;
    switch (parameter.initialization.kind) {
      case Initialization::Kind::zeros:
        draw.zero_();
        break;
      case Initialization::Kind::ones:
        draw.fill_(1.0);
        break;
      case Initialization::Kind::normal:
        draw.normal_(0.0, scale, generator);
        break;
      case Initialization::Kind::uniform:
        draw.uniform_(-scale, scale, generator);
        break;
    }
    masters_[i].copy_(draw);
  }
  publish();
}

void ParameterStore::zero_gradients() {
  at::NoGradGuard no_grad;
  if (gradients_.defined()) gradients_.zero_();
}

std::int64_t ParameterStore::gradient_bytes() const {
  return gradients_.defined() ? static_cast<std::int64_t>(gradients_.nbytes()) : 0;
}

void ParameterStore::check_gradient_views() const {
  if (releases_gradients()) {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      check_equal(tensors_[i].grad().defined(), false,
                  "a gradient is left of " + layout_.parameters()[i].name);
    }
    return;
  }
  const auto* base = static_cast<const char*>(gradients_.data_ptr());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& parameter = layout_.parameters()[i];
    const auto* expected =
        base + parameter.offset * static_cast<std::int64_t>(gradients_.element_size());
    check_equal(static_cast<const void*>(tensors_[i].grad().data_ptr()),
                static_cast<const void*>(expected), "gradient buffer of " + parameter.name);
  }
}

}  // namespace blockwise
