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

std::int64_t largest(const ParameterLayout& layout, const std::vector<bool>& kept) {
  std::int64_t most = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (!kept[i]) most = std::max(most, layout.parameters()[i].size());
  }
  return most;
}

// Parameters and gradients, and the copies that mixed precision computes with.
void require_memory(const ParameterLayout& layout, const at::TensorOptions& options,
                    const std::vector<bool>& kept, MasterWeights format, Gradients gradients) {
  const auto width = static_cast<std::int64_t>(options.dtype().itemsize());
  const auto residual = residual_type(format);
  const bool split = format != MasterWeights::fp32;
  const auto beside = split ? (residual ? std::int64_t(c10::elementSize(*residual)) : 0) : width;
  std::int64_t bytes = gradients == Gradients::kept ? width * layout.size() : 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    bytes += (kept[i] ? width : 2 + beside) * layout.parameters()[i].size();
  }
  if (split) bytes += 4 * largest(layout, kept);
  require_available(bytes, options.device(),
                    fmt::format("a model of {} parameters", layout.size()));
}

}  // namespace

ParameterStore::ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype,
                               const std::optional<MixedPrecision>& mixed, Gradients gradients)
    : layout_(std::move(layout)),
      device_(device),
      format_(mixed ? mixed->masters : MasterWeights::fp32) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const auto kept = kept_tensors(layout_, mixed);
  require_input(format_ == MasterWeights::fp32 || device.is_cpu() || device.is_meta(),
                "trainer.master_weights: only fp32 on the device {}", device.str());
  require_memory(layout_, options, kept, format_, gradients);
  if (gradients == Gradients::kept) gradients_ = at::zeros({layout_.size()}, options);
  if (format_ == MasterWeights::fp32) {
    make_masters(kept, options);
  } else {
    make_split_masters(kept, options);
  }
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) make_tensor(i, options);
}

ParameterStore::ParameterStore(const ParameterStore& whole, ParameterLayout layout,
                               std::int64_t begin)
    : layout_(std::move(layout)),
      device_(whole.device()),
      parameters_(whole.parameters().narrow(0, begin, layout_.size())),
      gradients_(whole.releases_gradients() ? at::zeros({layout_.size()}, parameters_.options())
                                            : whole.gradients().narrow(0, begin, layout_.size())) {
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) {
    masters_.push_back(view(parameters_, i));
    tensors_.push_back(masters_[i].detach());
    gradient_views_.push_back(view(gradients_, i));
  }
}

void ParameterStore::make_masters(const std::vector<bool>& kept, const at::TensorOptions& options) {
  parameters_ = at::zeros({layout_.size()}, options);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    masters_.push_back(view(parameters_, i));
    // detach() makes a leaf that shares the storage of the flat buffer.
    tensors_.push_back(kept[i] ? masters_[i].detach()
                               : at::zeros(masters_[i].sizes(), options.dtype(at::kBFloat16)));
  }
}

// One buffer each for what is kept, for weights and for what is beside them.
void ParameterStore::make_split_masters(const std::vector<bool>& kept,
                                        const at::TensorOptions& options) {
  std::int64_t whole = 0, split = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    (kept[i] ? whole : split) += layout_.parameters()[i].size();
  }
  const auto values = at::zeros({whole}, options);
  const auto weights = at::zeros({split}, options.dtype(at::kBFloat16));
  const auto type = residual_type(format_);
  const auto residuals = type ? at::zeros({split}, options.dtype(*type)) : at::Tensor();
  opened_ = at::zeros({largest(layout_, kept)}, options);
  splits_.resize(kept.size());
  whole = split = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto& parameter = layout_.parameters()[i];
    auto& place = kept[i] ? whole : split;
    if (kept[i]) {
      masters_.push_back(values.narrow(0, place, parameter.size()).view(parameter.shape));
      tensors_.push_back(masters_[i].detach());
    } else {
      masters_.emplace_back();
      splits_[i].weight = weights.narrow(0, place, parameter.size());
      if (type) splits_[i].residual = residuals.narrow(0, place, parameter.size());
      tensors_.push_back(splits_[i].weight.view(parameter.shape).detach());
    }
    place += parameter.size();
  }
}

void ParameterStore::make_tensor(std::size_t i, const at::TensorOptions& options) {
  auto& tensor = tensors_[i];
  const auto type = options.dtype().toScalarType();
  if (gradients_.defined()) gradient_views_.push_back(view(gradients_, i));
  tensor.requires_grad_(true);
  if (tensor.scalar_type() != type) tensor.set_grad_dtype(type);
  if (gradients_.defined()) tensor.mutable_grad() = gradient_views_[i];
}

at::Tensor ParameterStore::view(const at::Tensor& flat, std::size_t parameter) const {
  const auto& b = layout_.parameters()[parameter];
  return flat.narrow(0, b.offset, b.size()).view(b.shape);
}

const at::Tensor& ParameterStore::parameters() const {
  if (splits_masters()) throw InvariantError("split masters have no flat parameters");
  return parameters_;
}

bool ParameterStore::has_copy(std::size_t parameter) const {
  return is_split(parameter) ||
         tensors_[parameter].scalar_type() != masters_[parameter].scalar_type();
}

at::Tensor ParameterStore::master(std::size_t parameter) const {
  if (!is_split(parameter)) return masters_[parameter];
  const auto x = at::empty(layout_.parameters()[parameter].shape, opened_.options());
  if (!x.is_meta()) join_master(format_, splits_[parameter], x);
  return x;
}

void ParameterStore::set_master(std::size_t parameter, const at::Tensor& value) {
  at::NoGradGuard no_grad;
  if (!is_split(parameter)) {
    masters_[parameter].copy_(value);
    publish(parameter);
    return;
  }
  check_equal(value.numel(), splits_[parameter].weight.numel(), "values of a master");
  const auto x = value.to(at::kCPU, at::kFloat).contiguous();
  const bool random = format_ == MasterWeights::stochastic;
  split_master(random ? MasterWeights::none : format_, x, splits_[parameter], 0);
}

at::Tensor ParameterStore::open_master(std::size_t parameter) {
  if (!is_split(parameter)) return masters_[parameter];
  const auto& of_layout = layout_.parameters()[parameter];
  const auto x = opened_.narrow(0, 0, of_layout.size()).view(of_layout.shape);
  if (!x.is_meta()) join_master(format_, splits_[parameter], x);
  return x;
}

void ParameterStore::publish(std::size_t parameter, std::uint64_t seed) {
  if (!has_copy(parameter)) return;
  at::NoGradGuard no_grad;
  if (!is_split(parameter)) {
    tensors_[parameter].copy_(masters_[parameter]);
  } else if (!opened_.is_meta()) {
    const auto& split = splits_[parameter];
    split_master(format_, opened_.narrow(0, 0, split.weight.numel()), split, seed);
  }
}

std::int64_t ParameterStore::compute_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& tensor : tensors_) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

std::int64_t ParameterStore::master_bytes() const {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < masters_.size(); ++i) {
    if (is_split(i)) {
      const auto& residual = splits_[i].residual;
      bytes += residual.defined() ? static_cast<std::int64_t>(residual.nbytes()) : 0;
    } else if (has_copy(i)) {
      bytes += static_cast<std::int64_t>(masters_[i].nbytes());
    }
  }
  return bytes + (opened_.defined() ? static_cast<std::int64_t>(opened_.nbytes()) : 0);
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
    set_master(i, draw);
  }
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
