#include "core/parameter_store.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "core/error.hpp"
#include "core/random_stream.hpp"

namespace blockwise {

ParameterStore::ParameterStore(ParameterLayout layout, at::Device device, at::ScalarType dtype)
    : layout_(std::move(layout)) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  parameters_ = at::zeros({layout_.size()}, options);
  gradients_ = at::zeros({layout_.size()}, options);
  tensors_.reserve(layout_.blocks().size());
  for (const auto& block : layout_.blocks()) {
    // detach() makes a leaf that shares the storage of the flat buffer.
    auto tensor = parameters_.narrow(0, block.offset, block.size()).view(block.shape).detach();
    tensor.requires_grad_(true);
    tensor.mutable_grad() = gradients_.narrow(0, block.offset, block.size()).view(block.shape);
    tensors_.push_back(std::move(tensor));
  }
}

void ParameterStore::initialize(std::uint64_t seed) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& block = layout_.blocks()[i];
    auto draw = at::empty(block.shape, at::kFloat);
    auto generator = make_generator(seed, RandomStream::init, i);
    const double scale = block.initialization.scale;
    switch (block.initialization.kind) {
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
    tensors_[i].copy_(draw);
  }
}

void ParameterStore::zero_gradients() {
  at::NoGradGuard no_grad;
  gradients_.zero_();
}

void ParameterStore::check_gradient_views() const {
  const auto* base = static_cast<const char*>(gradients_.data_ptr());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& block = layout_.blocks()[i];
    const auto* expected =
        base + block.offset * static_cast<std::int64_t>(gradients_.element_size());
    check_equal(static_cast<const void*>(tensors_[i].grad().data_ptr()),
                static_cast<const void*>(expected), "gradient buffer of " + block.name);
  }
}

}  // namespace blockwise
