// GatheredLayers: the weights of layers whose masters are spread over ranks (ZeRO-3: Rajbhandari et
// al., arXiv 1910.02054, section 5.3). A layer is collected from its owners before it is computed,
// forward and backward, while the layer before it in the pass still is, and dropped after: at most
// two layers are there at a time. Every rank makes the same passes in the same order.
#pragma once

#include <memory>
#include <vector>

#include "core/base/layer_weights.hpp"
#include "core/parallel/owners.hpp"
#include "core/parallel/ranks.hpp"
#include "core/parameters/parameter_store.hpp"

namespace blockwise {

class GatheredLayers : public LayerWeights {
 public:
  // The store's layers are on demand, and its own masters those of this rank; the owners' units are
  // its weight units. All outlive this.
  GatheredLayers(ParameterStore& store, const Ranks& ranks, const Owners& owners);

  void enter_forward(std::size_t layer) override;
  // With a graph to come (GradMode) the last layer stays, where the backward pass begins.
  void leave_forward(std::size_t layer) override;
  void enter_backward(std::size_t layer) override;
  // Behind a pass: drops what is there, since the weights may change.
  void end_pass();
  // Seconds that this rank has waited for others since forget_waited().
  double waited() const { return waited_; }
  void forget_waited() { waited_ = 0.0; }

 private:
  struct Layer {
    bool is_there = false;
    std::vector<std::unique_ptr<Ranks::Transfer>> coming;
  };
  void start(std::size_t layer);
  void finish(std::size_t layer);
  void drop(std::size_t layer);

  ParameterStore& store_;
  const Ranks& ranks_;
  const Owners& owners_;
  std::vector<Layer> layers_;
  double waited_ = 0.0;
};

// What the ranks' own masters have become, to all others, of weights that are always there.
void hand_out_weights(ParameterStore& store, const Ranks& ranks, const Owners& owners);

}  // namespace blockwise
