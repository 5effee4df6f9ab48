// Products with the Hessian, the Gauss-Newton matrix and the empirical Fisher matrix of a model's
// loss at its present parameters, on fixed batches.
//
//   L = sum over all targets that count of -log p(target), over their number: batches of unequal
//   size and ignored targets weigh as their tokens do. Dropout is off. Other losses of the outputs:
//   core/losses/output_loss.hpp.
//
// Exact products are reverse over reverse (Pearlmutter 1994, by LibTorch's double backward), with
// attention from plain operations and the cross-entropy's closed form. Costs are in gradients, one
// forward and backward pass over all batches:
//   kept_graph         one gradient graph for all products, then about 2 per product; memory: the
//                      activations of the forward and of the backward pass of all batches
//   fresh_graph        about 3 per product; memory: those of one batch at a time
//   finite_difference  (g(w + e v) - g(w)) / e with g(w) kept: 1 per product; memory of training.
//                      Error of first order in e plus rounding
//   central_difference (g(w + e v) - g(w - e v)) / 2e: 2 per product, error of second order
// Differences go one length ||e v|| for all vectors over the same tensors, which is measured along
// the steepest curvature before the first of them (core/difference_step.hpp): 9 or 14 gradients,
// and g(w). Their gradients are those of the training pass, with its kernels, added up in the
// store's buffer; beside that a product takes g(w) and a copy of what it moves.
// Restricted products differentiate only what the chosen tensors need.
// Vectors are packed (ParameterSubset), of the store's dtype, on its device. Parameters are left
// bit for bit as they were. Deterministic for a fixed number of threads. With a kept graph and at
// least as many batches as threads each thread takes whole batches: so small models use all threads
// fully, at the temporary memory of one product on each.
//
// Several processes (parallel/ranks.hpp) share the batches by turns and add up what they compute,
// by one sum over ranks for each product. Rank 0 asks, the others serve(). Sums over batches then
// have another order; with as many processes they repeat to the bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/batch.hpp"
#include "core/difference_step.hpp"
#include "core/losses/output_loss.hpp"
#include "core/model.hpp"
#include "core/parallel/rank_service.hpp"
#include "core/parallel/ranks.hpp"
#include "core/parameters/parameter_subset.hpp"
#include "core/shared_differences.hpp"

namespace blockwise {

// y [out.size()] = H[out, in] v for v [in.size()].
struct HessianProduct {
  const ParameterSubset& in;
  at::Tensor v;
  const ParameterSubset& out;
  at::Tensor y;
};

enum class ProductMethod { kept_graph, fresh_graph, finite_difference, central_difference };

inline bool is_difference(ProductMethod method) {
  return method == ProductMethod::finite_difference || method == ProductMethod::central_difference;
}

// Gradients' worth of a Gauss-Newton or Fisher product: with a kept graph J v and J^T u, twice two
// of a gradient's three passes; otherwise the graph's three passes before them.
inline double outer_product_cost(ProductMethod method) {
  return method == ProductMethod::kept_graph ? 4.0 / 3.0 : 7.0 / 3.0;
}

class Curvature {
 public:
  // Keeps references. Throws InputError for no batch, no target that counts, or a loss that is not
  // finite.
  Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
            ProductMethod method = ProductMethod::kept_graph);
  // This rank's part: the same parameters and batches on all of them.
  Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
            ProductMethod method, const Ranks& ranks);
  // Of ranks that share the parameters, too (shared_differences.hpp): the store has their own
  // masters, layers on demand, and no gradients. Differences of the Hessian alone.
  Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
            ProductMethod method, const Ranks& ranks, const Owners& owners);
  // Of another loss than the model's own.
  Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
            ProductMethod method, const OutputLoss& output_loss);
  ~Curvature();
  Curvature(const Curvature&) = delete;
  Curvature& operator=(const Curvature&) = delete;

  // Before anything is asked for that is no product with the Hessian: none will follow, so the loss
  // and its gradient keep no graph for them, whose memory is most of kept_graph's. One that follows
  // all the same has a fresh graph.
  void leave_out_hessian_graphs() { keeps_hessian_graphs_ = false; }

  const ParameterStore& store() const { return store_; }
  double loss();
  // [all.size()], where curvature is measured; the store's own, where it has all of them.
  at::Tensor parameters();
  // [all.size()], of all tensors. Cost: 1 the first time.
  const at::Tensor& gradient();

  void hessian_product(const ParameterSubset& in, const at::Tensor& v, const ParameterSubset& out,
                       const at::Tensor& y);
  // Several at once: each batch's graph is made once for all of them, also a fresh one.
  void hessian_products(const std::vector<HessianProduct>& products);
  // y = G[s, s] v with G = J^T (d2 loss / d logits2) J (Schraudolph 2002). Cost:
  // outer_product_cost; a kept graph is made at the first product, for 1 more.
  void gauss_newton_product(const ParameterSubset& subset, const at::Tensor& v,
                            const at::Tensor& y);
  // y = F[s, s] v with F = sum_i g_i g_i^T / count over targets, g_i the gradient of one target's
  // loss. Cost: that of Gauss-Newton.
  void fisher_product(const ParameterSubset& subset, const at::Tensor& v, const at::Tensor& y);

  // Of every rank but 0: takes part in what rank 0 computes, until its Curvature is gone.
  // Differences leave other parameters in the store. `beside`: for what rank 0 announces by
  // lead_beside().
  void serve(RankService* beside = nullptr);
  // Of rank 0: what it asks for next is for the others' service.
  void lead_beside() const { lead(Request::beside); }

  // Whether Hessian products are differences.
  bool uses_differences() const { return is_difference(method_); }
  // Of differences: how far they go with vectors over these tensors, and what they get wrong. A
  // function of parameters and batches alone. Cost: the first time for these tensors, see above;
  // `before` is called before each of those products, and may throw.
  const DifferenceStep& difference_step(const ParameterSubset& in,
                                        const std::function<void()>& before = {});
  // Gradients' worth of work so far, as counted above.
  double cost() const { return cost_; }

 private:
  struct Graph;
  struct Pullback;
  // What all ranks compute next.
  enum class Request {
    gradient,
    plain_gradient,
    hessian,
    gauss_newton,
    fisher,
    shared_parameters,
    shared_gradient,
    shared_difference,
    beside,
    done
  };
  struct Wanted;  // a product that another rank asks for
  bool leads() const { return ranks_ != nullptr && ranks_->is_first() && !ranks_->is_alone(); }
  void lead(Request request) const;
  void send(const ParameterSubset& in, const ParameterSubset& out, const at::Tensor& v) const;
  void shared_difference(const HessianProduct& product, double step, bool central);
  void serve_shared(Request request);
  Wanted receive() const;
  void serve(Request request, RankService* beside);
  void add_ranks(const at::Tensor& values) const;
  void add_ranks(double& value) const;
  bool keeps_graphs() const {
    return method_ == ProductMethod::kept_graph && keeps_hessian_graphs_;
  }
  Graph build_graph(const Batch& batch, bool create_graph);
  at::Tensor outputs(const Batch& batch, ForwardContext context) const;
  at::Tensor batch_loss(const Batch& batch, ForwardContext context) const;
  double plain_gradient();
  const at::Tensor& training_gradient();
  void exact_products(const std::vector<HessianProduct>& products);
  std::vector<at::Tensor> second_backward(const Graph& graph, const HessianProduct& product,
                                          bool keep) const;
  template <typename Part>
  void add_kept_parts(const ParameterSubset& out, const at::Tensor& y, std::int64_t batches,
                      const Part& part) const;
  void kept_product(const HessianProduct& product);
  void fresh_products(const Graph& graph, const std::vector<HessianProduct>& products);
  void difference(const HessianProduct& product, double step, bool central);
  const at::Tensor& unmoved(const ParameterSubset& in);
  std::vector<at::Tensor> chosen(const ParameterSubset& subset, const at::Tensor& all) const;
  void difference_product(const HessianProduct& product);
  Pullback pull_back(Request kind, const Batch& batch, const ParameterSubset& of) const;
  at::Tensor middle(const Pullback& of, const at::Tensor& pushed) const;
  std::vector<at::Tensor> outer_part(const Pullback& of, const std::vector<at::Tensor>& pulled,
                                     const ParameterSubset& subset, const at::Tensor& v,
                                     bool keep) const;
  void kept_outer_product(Request kind, const ParameterSubset& subset, const at::Tensor& v,
                          const at::Tensor& y);
  void outer_product(Request kind, const ParameterSubset& subset, const at::Tensor& v,
                     const at::Tensor& y);
  std::vector<at::Tensor> leaves(const ParameterSubset& subset) const;

  const Model& model_;
  ParameterStore& store_;
  std::vector<Batch> batches_;
  ProductMethod method_;
  bool keeps_hessian_graphs_ = true;
  const OutputLoss& output_loss_;
  const Ranks* ranks_ = nullptr;
  std::unique_ptr<SharedDifferences> shared_;  // where ranks share the parameters
  ParameterSubset all_;
  at::Tensor count_;  // targets that count, over all batches
  std::vector<Graph> kept_;
  std::map<Request, std::vector<Pullback>> pullbacks_;  // of kept_graph
  at::Tensor gradient_;
  double loss_ = 0.0;
  std::map<std::vector<std::size_t>, DifferenceStep> steps_;  // by the tensors of a subset
  // Of differences: the parameters of the last product's tensors, as they are.
  at::Tensor unmoved_;
  std::vector<std::size_t> unmoved_of_;
  double cost_ = 0.0;
};

}  // namespace blockwise
