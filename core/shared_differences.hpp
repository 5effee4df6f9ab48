// Differences of gradients where several ranks share the parameters (ZeRO-3, gathered_layers.hpp):
// each rank moves what it owns, layers are collected as they are used, and of every gradient each
// keeps its share. No rank has all parameters or a whole gradient; vectors are rank 0's.
//
// Memory of a rank, beside the store: four shares, of two gradients, of a vector, and of the
// parameters as they are; for central differences one more; and a tensor at a time. An element of a
// product is sent three times: its direction to all, its gradient to its owner, the product to all;
// and layers are collected twice for a pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "core/base/batch.hpp"
#include "core/base/forward_context.hpp"
#include "core/parallel/gathered_layers.hpp"
#include "core/parallel/gradient_sum.hpp"
#include "core/parameters/parameter_subset.hpp"

namespace blockwise {

class SharedDifferences {
 public:
  using BatchLoss = std::function<at::Tensor(const Batch& batch, const ForwardContext& context)>;

  // The store has its own masters, layers on demand and releases its gradients. Store, ranks and
  // owners outlive this. batches: all of them, on every rank.
  SharedDifferences(ParameterStore& store, const Ranks& ranks, const Owners& owners,
                    const std::vector<Batch>& batches, BatchLoss loss);

  // Every rank calls these together; vectors are read and written on rank 0 alone, and may be
  // undefined elsewhere. w [n]; the gradient g [n] there, whose shares are kept, with the loss.
  void parameters(const at::Tensor& w) const;
  double gradient(const at::Tensor& g);
  // y [out.size()] = (g(w + step v) - g(w)) / step, v [in.size()], after gradient(); or, central,
  // (g(w + step v) - g(w - step v)) / (2 step).
  void difference(const ParameterSubset& in, const at::Tensor& v, const ParameterSubset& out,
                  const at::Tensor& y, double step, bool central);

 private:
  double gradient_here();
  void move(const ParameterSubset& in, double step);
  at::Tensor of_own(const at::Tensor& own, std::size_t parameter) const;
  at::Tensor at_hand(std::size_t parameter, const at::Tensor& packed, std::int64_t offset) const;
  void spread(const ParameterSubset& subset, const at::Tensor& packed);
  void collect(const ParameterSubset& subset, const at::Tensor& own,
               const at::Tensor& packed) const;

  ParameterStore& store_;
  const Ranks& ranks_;
  const Owners& owners_;
  BatchLoss loss_;
  ParameterSubset all_;
  GatheredLayers layers_;
  std::vector<Batch> batches_;     // of this rank; at least one
  std::int64_t rounds_, counted_;  // passes of every rank, and those of this one that count
  // [own]; the last one from the first central difference on
  at::Tensor unmoved_, direction_, sum_of_gradients_, start_, ahead_;
  std::unique_ptr<GradientSum> sum_;
};

}  // namespace blockwise
