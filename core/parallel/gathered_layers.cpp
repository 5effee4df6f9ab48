#include "core/parallel/gathered_layers.hpp"

#include <ATen/core/grad_mode.h>

#include <chrono>

namespace blockwise {

GatheredLayers::GatheredLayers(ParameterStore& store, const Ranks& ranks, const Owners& owners)
    : store_(store),
      ranks_(ranks),
      owners_(owners),
      layers_(std::size_t(store.layers_on_demand())) {}

void GatheredLayers::enter_forward(std::size_t layer) {
  finish(layer);
  if (layer + 1 < layers_.size()) start(layer + 1);
}

void GatheredLayers::leave_forward(std::size_t layer) {
  const bool turns = layer + 1 == layers_.size() && at::GradMode::is_enabled();
  if (!turns) drop(layer);
}

void GatheredLayers::enter_backward(std::size_t layer) {
  finish(layer);
  if (layer + 1 < layers_.size()) drop(layer + 1);
  if (layer > 0) start(layer - 1);
}

void GatheredLayers::end_pass() {
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) drop(layer);
  ranks_.meet();
}

void GatheredLayers::start(std::size_t layer) {
  auto& of = layers_[layer];
  if (of.is_there) return;
  of.is_there = true;
  store_.open_layer(layer);
  const auto unit = store_.buffer_of_layer(layer);
  for (const auto& shared : store_.weight_buffers()[unit].shared(owners_.units()[unit])) {
    of.coming.push_back(ranks_.start_share(shared.values, shared.bounds));
  }
}

void GatheredLayers::finish(std::size_t layer) {
  start(layer);
  auto& coming = layers_[layer].coming;
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& transfer : coming) transfer->wait();
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  coming.clear();
}

void GatheredLayers::drop(std::size_t layer) {
  if (!layers_[layer].is_there) return;
  finish(layer);
  store_.close_layer(layer);
  layers_[layer].is_there = false;
}

void hand_out_weights(ParameterStore& store, const Ranks& ranks, const Owners& owners) {
  for (std::size_t i = 0; i < store.tensors().size(); ++i) store.publish(i);
  for (std::size_t k = 0; k < store.weight_buffers().size(); ++k) {
    const auto& buffer = store.weight_buffers()[k];
    if (buffer.unit().layer >= 0) continue;  // collected when it is used
    for (const auto& shared : buffer.shared(owners.units()[k])) {
      ranks.start_share(shared.values, shared.bounds)->wait();
    }
  }
}

}  // namespace blockwise
