#include "core/parameters/parameter_store.hpp"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <span>

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

void require_memory_of_model(std::int64_t bytes, const ParameterLayout& layout, at::Device device) {
  require_available(bytes, device, fmt::format("a model of {} parameters", layout.size()));
}

// Bytes that the model computes with, of one unit; with those of layers on demand that are there at
// a time.
std::int64_t unit_bytes(const ParameterLayout& layout, const WeightUnit& unit,
                        const std::vector<bool>& kept, std::int64_t width) {
  std::int64_t bytes = 0;
  for (auto i = unit.first; i < unit.last; ++i) {
    bytes += (kept[i] ? width : 2) * layout.parameters()[i].size();
  }
  return bytes;
}

std::int64_t bytes_at_a_time(const std::vector<std::pair<std::int64_t, std::int64_t>>& layers) {
  std::int64_t always = 0, before = 0, most = 0;
  for (const auto& [layer, bytes] : layers) {
    if (layer < 0) {
      always += bytes;
      continue;
    }
    most = std::max(most, before + bytes);
    before = bytes;
  }
  return always + most;
}

// Parameters and gradients, and the copies that mixed precision computes with.
void require_memory(const ParameterLayout& layout, const at::TensorOptions& options,
                    const std::vector<bool>& kept, const MixedPrecision& mixed,
                    Gradients gradients) {
  const auto width = static_cast<std::int64_t>(options.dtype().itemsize());
  const auto residual = residual_type(mixed.masters);
  const bool split = mixed.masters != MasterWeights::fp32;
  const bool has_residuals = residual && mixed.paging.resident_bytes == 0;
  const auto beside =
      split ? (has_residuals ? std::int64_t(c10::elementSize(*residual)) : 0) : width;
  std::int64_t bytes = gradients == Gradients::kept ? width * layout.size() : 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    bytes += (kept[i] ? width + (mixed.flat_copies ? 2 : 0) : 2 + beside) *
             layout.parameters()[i].size();
  }
  if (split) bytes += 4 * largest(layout, kept) + mixed.paging.resident_bytes;
  require_memory_of_model(bytes, layout, options.device());
}

// Own masters, all gradients, and what the model computes with.
void require_memory(const ParameterLayout& layout, const at::TensorOptions& options,
                    const std::vector<bool>& kept, const OwnMasters& own, Gradients gradients) {
  const auto width = static_cast<std::int64_t>(options.dtype().itemsize());
  std::vector<std::pair<std::int64_t, std::int64_t>> layers;
  for (const auto& unit : weight_units(layout, own.layers_on_demand)) {
    layers.emplace_back(unit.layer, unit_bytes(layout, unit, kept, width));
  }
  const auto kept_gradients = gradients == Gradients::kept ? width * layout.size() : 0;
  require_memory_of_model(width * own.size() + kept_gradients + bytes_at_a_time(layers), layout,
                          options.device());
}

}  // namespace

std::int64_t OwnMasters::size() const {
  std::int64_t size = 0;
  for (const auto& range : ranges) size += range.size();
  return size;
}

ParameterStore::ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype,
                               const std::optional<MixedPrecision>& mixed, Gradients gradients,
                               std::optional<OwnMasters> own)
    : layout_(std::move(layout)),
      device_(device),
      format_(mixed ? mixed->masters : MasterWeights::fp32),
      paging_(mixed ? mixed->paging : Paging{}),
      own_(std::move(own)) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const auto kept = kept_tensors(layout_, mixed);
  require_input(
      format_ == MasterWeights::fp32 || !device.is_cuda() || has_cuda_number_converter(),
      "trainer.master_weights: blockwise was built without a CUDA compiler, so it is fp32 "
      "on the device {}",
      device.str());
  require_input(paging_.resident_bytes == 0 || !device.is_cuda(),
                "trainer.master_resident_mb: only 0 on the device {}", device.str());
  require_input(
      paging_.resident_bytes == 0 || residual_type(format_),
      "trainer.master_resident_mb: {} masters keep nothing beside the weight that could be "
      "in a file",
      master_weights_names()[std::size_t(format_)]);
  own_ ? require_memory(layout_, options, kept, *own_, gradients)
       : require_memory(layout_, options, kept, mixed.value_or(MixedPrecision{}), gradients);
  if (gradients == Gradients::kept) gradients_ = at::zeros({layout_.size()}, options);
  check_equal(own_ && format_ != MasterWeights::fp32, false, "a share of split masters");
  if (own_) {
    make_own_masters(kept, options);
  } else if (format_ == MasterWeights::fp32) {
    make_masters(kept, mixed && mixed->flat_copies, options);
  } else {
    make_split_masters(kept, options);
  }
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) make_tensor(i, options);
}

ParameterStore::ParameterStore(const ParameterStore& whole, ParameterLayout layout,
                               std::int64_t begin)
    : layout_(std::move(layout)),
      device_(whole.device()),
      parameters_(whole.parameters_.narrow(0, whole.own_ ? 0 : begin, layout_.size())),
      gradients_(whole.releases_gradients() ? at::zeros({layout_.size()}, parameters_.options())
                                            : whole.gradients().narrow(0, begin, layout_.size())) {
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) {
    masters_.push_back(view(parameters_, i));
    tensors_.push_back(masters_[i].detach());
    gradient_views_.push_back(view(gradients_, i));
  }
}

void ParameterStore::make_masters(const std::vector<bool>& kept, bool flat,
                                  const at::TensorOptions& options) {
  parameters_ = at::zeros({layout_.size()}, options);
  const auto halves = options.dtype(at::kBFloat16);
  if (flat) flat_copies_ = at::zeros({layout_.size()}, halves);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    masters_.push_back(view(parameters_, i));
    // detach() makes a leaf that shares the storage of the flat buffer.
    if (kept[i]) {
      tensors_.push_back(masters_[i].detach());
    } else {
      tensors_.push_back(flat ? view(flat_copies_, i).detach()
                              : at::zeros(masters_[i].sizes(), halves));
    }
  }
}

void ParameterStore::make_own_masters(const std::vector<bool>& kept,
                                      const at::TensorOptions& options) {
  parameters_ = at::zeros({own_->size()}, options);
  const auto units = weight_units(layout_, own_->layers_on_demand);
  check_equal(own_->ranges.size(), units.size(), "ranges of own masters");
  buffer_of_layer_.resize(static_cast<std::size_t>(own_->layers_on_demand));
  masters_.resize(kept.size());
  for (const auto& unit : units) {
    auto& buffer = buffers_.emplace_back(layout_, unit, kept, options);
    if (unit.layer >= 0) {
      buffer_of_layer_[std::size_t(unit.layer)] = buffers_.size() - 1;
      buffer.drop();
    }
    unit_of_.resize(unit.last, buffers_.size() - 1);
    tensors_.insert(tensors_.end(), buffer.tensors().begin(), buffer.tensors().end());
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
  const auto residuals = make_residuals(kept, split, options);
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
      if (residuals.defined()) splits_[i].residual = residuals.narrow(0, place, parameter.size());
      tensors_.push_back(splits_[i].weight.view(parameter.shape).detach());
    }
    place += parameter.size();
  }
}

// What is beside split weights: in memory, in a file, or nothing.
at::Tensor ParameterStore::make_residuals(const std::vector<bool>& kept, std::int64_t size,
                                          const at::TensorOptions& options) {
  const auto type = residual_type(format_);
  if (!type) return {};
  if (paging_.resident_bytes == 0 || device_.is_meta()) {
    return at::zeros({size}, options.dtype(*type));
  }
  const auto width = static_cast<std::int64_t>(c10::elementSize(*type));
  std::vector<std::vector<ByteRange>> uses(kept.size());
  std::int64_t end = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i]) continue;
    uses[i].push_back({end, width * layout_.parameters()[i].size()});
    end += uses[i][0].size;
  }
  constexpr PagedContent kContent{"what is beside bfloat16 weights", "trainer.master_resident_mb"};
  pages_ = std::make_shared<PagedFile>(kContent, paging_, end, std::move(uses));
  return at::from_blob(
      pages_->data(), {size}, [pages = pages_](void*) {}, at::TensorOptions().dtype(*type));
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
  if (own_) throw InvariantError("some masters are kept elsewhere");
  return parameters_;
}

at::TensorOptions ParameterStore::master_options() const {
  return (splits_masters() ? opened_ : parameters_).options();
}

bool ParameterStore::has_copy(std::size_t parameter) const {
  return is_split(parameter) || own_ ||
         tensors_[parameter].scalar_type() != masters_[parameter].scalar_type();
}

at::Tensor ParameterStore::master(std::size_t parameter) const {
  if (own_) throw InvariantError("some masters are kept elsewhere");
  if (!is_split(parameter)) return masters_[parameter];
  const auto x = at::empty(layout_.parameters()[parameter].shape, opened_.options());
  if (pages_) pages_->look_at(parameter);
  if (!x.is_meta()) join_master(format_, splits_[parameter], x);
  return x;
}

ParameterStore::MasterPiece ParameterStore::own_piece(std::size_t parameter) const {
  const auto& of_layout = layout_.parameters()[parameter];
  const ElementRange all{0, layout_.size()};
  const auto ranges = own_ ? std::span<const ElementRange>(own_->ranges) : std::span(&all, 1);
  std::int64_t place = 0;
  for (const auto& range : ranges) {
    const auto begin = std::max(range.begin, of_layout.offset);
    const auto end = std::min(range.end, of_layout.offset + of_layout.size());
    if (begin < end) {
      return {parameters_.narrow(0, place + begin - range.begin, end - begin),
              begin - of_layout.offset};
    }
    place += range.size();
  }
  return {parameters_.narrow(0, 0, 0), 0};
}

void ParameterStore::open_layer(std::size_t layer) {
  auto& buffer = buffers_[buffer_of_layer_[layer]];
  buffer.take();
  for (auto i = buffer.unit().first; i < buffer.unit().last; ++i) publish_own(i);
}

void ParameterStore::close_layer(std::size_t layer) { buffers_[buffer_of_layer_[layer]].drop(); }

void ParameterStore::set_master(std::size_t parameter, const at::Tensor& value) {
  at::NoGradGuard no_grad;
  if (own_) {
    const auto piece = own_piece(parameter);
    const auto size = piece.values.numel();
    piece.values.copy_(value.reshape({-1}).narrow(0, piece.begin, size));
    if (!is_on_demand(parameter)) tensors_[parameter].copy_(value);
    return;
  }
  if (!is_split(parameter)) {
    masters_[parameter].copy_(value);
    publish(parameter);
    return;
  }
  check_equal(value.numel(), splits_[parameter].weight.numel(), "values of a master");
  const auto x = value.to(device_, at::kFloat).contiguous();
  const bool random = format_ == MasterWeights::stochastic;
  if (pages_) pages_->begin_use(parameter);
  split_master(random ? MasterWeights::none : format_, x, splits_[parameter], 0);
  if (pages_) pages_->end_use(parameter);
}

at::Tensor ParameterStore::open_master(std::size_t parameter) {
  if (own_) throw InvariantError("some masters are kept elsewhere");
  if (!is_split(parameter)) return masters_[parameter];
  const auto& of_layout = layout_.parameters()[parameter];
  const auto x = opened_.narrow(0, 0, of_layout.size()).view(of_layout.shape);
  if (pages_) pages_->begin_use(parameter);
  if (!x.is_meta()) join_master(format_, splits_[parameter], x);
  return x;
}

void ParameterStore::publish(std::size_t parameter, std::uint64_t seed) {
  if (!has_copy(parameter)) return;
  at::NoGradGuard no_grad;
  if (own_) {
    if (!is_on_demand(parameter)) publish_own(parameter);
  } else if (!is_split(parameter)) {
    tensors_[parameter].copy_(masters_[parameter]);
  } else if (!opened_.is_meta()) {
    const auto& split = splits_[parameter];
    split_master(format_, opened_.narrow(0, 0, split.weight.numel()), split, seed);
    if (pages_) pages_->end_use(parameter);
  }
}

// A layer that is opened for its backward pass has the values that the graph has seen: no version
// of its tensors is a new one.
void ParameterStore::publish_own(std::size_t parameter) {
  const at::AutoDispatchBelowADInplaceOrView unversioned;
  const auto piece = own_piece(parameter);
  const auto weights = tensors_[parameter].detach().view({-1});
  weights.narrow(0, piece.begin, piece.values.numel()).copy_(piece.values);
}

std::int64_t ParameterStore::compute_bytes() const {
  if (own_) {
    std::vector<std::pair<std::int64_t, std::int64_t>> layers;
    for (const auto& buffer : buffers_) {
      layers.emplace_back(buffer.unit().layer, buffer.bytes());
    }
    return bytes_at_a_time(layers);
  }
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    bytes += static_cast<std::int64_t>(tensors_[i].nbytes());
    const bool has_place = flat_copies_.defined() && !has_copy(i);
    if (has_place) bytes += 2 * layout_.parameters()[i].size();
  }
  return bytes;
}

std::int64_t ParameterStore::residual_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& split : splits_) {
    if (split.residual.defined()) bytes += static_cast<std::int64_t>(split.residual.nbytes());
  }
  return bytes;
}

std::int64_t ParameterStore::master_bytes() const {
  auto bytes = residual_bytes() - paged_master_bytes();
  if (own_) return static_cast<std::int64_t>(parameters_.nbytes());
  for (std::size_t i = 0; i < masters_.size(); ++i) {
    if (!is_split(i) && has_copy(i)) bytes += static_cast<std::int64_t>(masters_[i].nbytes());
  }
  return bytes + (opened_.defined() ? static_cast<std::int64_t>(opened_.nbytes()) : 0);
}

std::int64_t ParameterStore::paged_master_bytes() const {
  const auto bound = paging_.resident_bytes;
  return bound == 0 ? 0 : std::max<std::int64_t>(0, residual_bytes() - bound);
}

void ParameterStore::evict() const {
  if (pages_) pages_->evict_all();
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
