#include "core/curvature.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/base/machine_epsilon.hpp"
#include "core/base/random_stream.hpp"

namespace blockwise {
namespace {

using torch::autograd::grad;

ForwardContext twice_differentiable() {
  ForwardContext context;
  context.twice_differentiable = true;
  return context;
}

// Parameters that are moved along a vector, and back to the bit whatever happens. `kept`: as they
// are, packed.
class MovedParameters {
 public:
  MovedParameters(std::vector<at::Tensor> parameters, const ParameterSubset& subset,
                  const at::Tensor& kept, const at::Tensor& direction)
      : parameters_(std::move(parameters)),
        places_(subset.views(kept)),
        directions_(subset.views(direction)) {}
  ~MovedParameters() { move(0.0); }
  MovedParameters(const MovedParameters&) = delete;
  MovedParameters& operator=(const MovedParameters&) = delete;

  // w + step * direction, from where they were.
  void move(double step) const {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      parameters_[i].copy_(places_[i]);
      if (step != 0.0) parameters_[i].add_(directions_[i], step);
    }
  }

 private:
  std::vector<at::Tensor> parameters_, places_, directions_;
};

}  // namespace

// One batch's loss and gradient; `gradient` has a graph of its own where it was asked for.
struct Curvature::Graph {
  at::Tensor loss;
  std::vector<at::Tensor> gradient;  // one per tensor of the layout; undefined where unused
};

Curvature::Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
                     ProductMethod method)
    : Curvature(model, store, std::move(batches), method, model.output_loss()) {}

Curvature::Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
                     ProductMethod method, const OutputLoss& output_loss)
    : model_(model),
      store_(store),
      batches_(std::move(batches)),
      method_(method),
      output_loss_(output_loss),
      all_(store.layout()) {
  check_equal(is_difference(method) && store.has_all_masters() && store.releases_gradients(), false,
              "differences in a store without gradients");
  std::int64_t count = 0;
  for (const auto& batch : batches_) {
    count += output_loss_.counted(batch.targets);
  }
  require_input(count > 0,
                "hessian.batches: of the {} batches that are measured a mask leaves no target",
                batches_.size());
  count_ = at::full({}, count, store.master_options());
}

Curvature::Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
                     ProductMethod method, const Ranks& ranks)
    : Curvature(model, store, std::move(batches), method) {
  ranks_ = &ranks;
  std::vector<Batch> own;
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    if (std::int64_t(i) % ranks.size() == ranks.rank()) own.push_back(batches_[i]);
  }
  batches_ = std::move(own);
}

Curvature::Curvature(const Model& model, ParameterStore& store, std::vector<Batch> batches,
                     ProductMethod method, const Ranks& ranks, const Owners& owners)
    : Curvature(model, store, std::move(batches), method) {
  check_equal(is_difference(method), true, "differences of parameters that ranks share");
  ranks_ = &ranks;
  shared_ = std::make_unique<SharedDifferences>(
      store, ranks, owners, batches_, [this](const Batch& batch, const ForwardContext& context) {
        return batch_loss(batch, context);
      });
  batches_.clear();
}

// A process that has gone is named by who misses it next.
Curvature::~Curvature() {
  try {
    lead(Request::done);
  } catch (const std::exception&) {
  }
}

std::vector<at::Tensor> Curvature::leaves(const ParameterSubset& subset) const {
  std::vector<at::Tensor> tensors;
  for (const auto parameter : subset.parameters()) tensors.push_back(store_.tensors()[parameter]);
  return tensors;
}

at::Tensor Curvature::outputs(const Batch& batch, ForwardContext context) const {
  const auto logits = model_.logits(batch.inputs, context);
  return logits.reshape({-1, logits.size(-1)});
}

at::Tensor Curvature::batch_loss(const Batch& batch, ForwardContext context) const {
  return output_loss_.mean(outputs(batch, context), batch.targets, count_);
}

Curvature::Graph Curvature::build_graph(const Batch& batch, bool create_graph) {
  Graph graph;
  graph.loss = batch_loss(batch, twice_differentiable());
  graph.gradient = grad({graph.loss}, store_.tensors(), {}, create_graph, create_graph,
                        /*allow_unused=*/true);
  return graph;
}

double Curvature::loss() {
  gradient();
  return loss_;
}

at::Tensor Curvature::parameters() {
  if (!shared_) return store_.parameters();
  lead(Request::shared_parameters);
  const auto w = at::empty({all_.size()}, store_.master_options());
  shared_->parameters(w);
  return w;
}

const at::Tensor& Curvature::gradient() {
  if (gradient_.defined()) return gradient_;
  if (is_difference(method_)) return training_gradient();
  const bool keep = keeps_graphs();
  lead(Request::gradient);
  auto sum = at::zeros_like(store_.parameters());
  for (const auto& batch : batches_) {
    auto graph = build_graph(batch, keep);
    if (!graph.loss.is_meta()) loss_ += graph.loss.item<double>();
    all_.add(graph.gradient, sum);
    if (keep) kept_.push_back(std::move(graph));
  }
  add_ranks(sum);
  add_ranks(loss_);
  require_input(std::isfinite(loss_), "the loss at these parameters is {}", loss_);
  cost_ += 1.0;
  gradient_ = sum;
  return gradient_;
}

// d/dw of <g_in, v>, restricted to the tensors of `out`; nothing where the loss is linear in `in`.
std::vector<at::Tensor> Curvature::second_backward(const Graph& graph,
                                                   const HessianProduct& product, bool keep) const {
  const auto directions = product.in.views(product.v);
  std::vector<at::Tensor> outputs, weights;
  for (std::size_t i = 0; i < product.in.parameters().size(); ++i) {
    const auto& g = graph.gradient[product.in.parameters()[i]];
    if (!g.defined() || !g.requires_grad()) continue;
    outputs.push_back(g);
    weights.push_back(directions[i]);
  }
  if (outputs.empty()) return {};
  return grad(outputs, leaves(product.out), weights, keep, false, /*allow_unused=*/true);
}

// Of small models an operation is over before a second thread has begun it: where there is a batch
// for every thread, as many batches at a time as threads. Sums run over the batches in their order.
template <typename Part>
void Curvature::add_kept_parts(const ParameterSubset& out, const at::Tensor& y,
                               std::int64_t batches, const Part& part) const {
  const auto threads = std::int64_t(at::get_num_threads());
  const auto at_once = batches >= threads && store_.parameters().is_cpu() ? threads : 1;
  for (std::int64_t first = 0; first < batches; first += at_once) {
    std::vector<std::vector<at::Tensor>> parts(std::size_t(std::min(at_once, batches - first)));
    const auto take = [&](std::int64_t i) { parts[std::size_t(i)] = part(std::size_t(first + i)); };
    if (at_once == 1) {
      take(0);
    } else {
      at::parallel_for(0, std::ssize(parts), 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) take(i);
      });
    }
    for (const auto& tensors : parts) {
      if (!tensors.empty()) out.add(tensors, y);
    }
  }
}

void Curvature::kept_product(const HessianProduct& product) {
  add_kept_parts(product.out, product.y, std::ssize(kept_),
                 [&](std::size_t i) { return second_backward(kept_[i], product, true); });
}

void Curvature::exact_products(const std::vector<HessianProduct>& products) {
  const bool keep = keeps_graphs();
  if (keep) gradient();
  lead(Request::hessian);
  if (leads()) {
    ranks_->number_of_first(keep ? 1 : 0);
    ranks_->number_of_first(std::ssize(products));
    for (const auto& product : products) send(product.in, product.out, product.v);
  }
  for (const auto& product : products) product.y.zero_();
  if (keep) {
    for (const auto& product : products) kept_product(product);
  } else {
    for (const auto& batch : batches_) fresh_products(build_graph(batch, true), products);
  }
  for (const auto& product : products) add_ranks(product.y);
  cost_ += (keep ? 0.0 : 1.0) + 2.0 * static_cast<double>(products.size());
}

void Curvature::fresh_products(const Graph& graph, const std::vector<HessianProduct>& products) {
  for (std::size_t i = 0; i < products.size(); ++i) {
    const auto tensors = second_backward(graph, products[i], i + 1 < products.size());
    if (!tensors.empty()) products[i].out.add(tensors, products[i].y);
  }
}

// ---- differences -------------------------------------------------------------------------------

// The training pass: fused attention, gradients accumulated in place.
// Into the store's gradients: no other memory of that size, and no sum beside it.
double Curvature::plain_gradient() {
  const at::AutoGradMode with_graph(true);
  lead(Request::plain_gradient);
  if (ranks_ != nullptr) ranks_->take_first(store_.parameters());
  store_.zero_gradients();
  double loss = 0.0;
  for (const auto& batch : batches_) {
    const auto of_batch = batch_loss(batch, {});
    if (!of_batch.is_meta()) loss += of_batch.item<double>();
    backward(of_batch);
  }
  add_ranks(store_.gradients());
  add_ranks(loss);
  cost_ += 1.0;
  return loss;
}

// g(w) by the kernels that g(w + e v) comes from: another kernel's rounding would not cancel.
const at::Tensor& Curvature::training_gradient() {
  at::Tensor g;
  if (shared_) {
    lead(Request::shared_gradient);
    g = at::empty({all_.size()}, store_.master_options());
    loss_ = shared_->gradient(g);
    cost_ += 1.0;
  } else {
    loss_ = plain_gradient();
    g = store_.gradients().clone();
  }
  require_input(std::isfinite(loss_), "the loss at these parameters is {}", loss_);
  gradient_ = g;
  return gradient_;
}

// y = H[out, in] v; step is absolute. Vectors may be in files: each pass over them counts, so what
// is left of the two gradients is taken tensor by tensor.
void Curvature::difference(const HessianProduct& product, double step, bool central) {
  if (!central) gradient();
  if (shared_) {
    shared_difference(product, step, central);
    return;
  }
  const auto& [in, v, out, y] = product;
  const auto places = out.views(y), ahead = chosen(out, store_.gradients());
  {
    const MovedParameters moved(leaves(in), in, unmoved(in), v);
    moved.move(step);
    plain_gradient();
    if (central) {
      out.pack(ahead, y);
      moved.move(-step);
      plain_gradient();
    }
  }
  const auto behind = chosen(out, central ? store_.gradients() : gradient_);
  for (std::size_t i = 0; i < places.size(); ++i) {
    // (g(w + h v) - g(w)) / h, or (g(w + h v) - g(w - h v)) / 2 h
    if (!central) places[i].copy_(ahead[i]);
    places[i].sub_(behind[i]).div_(central ? 2.0 * step : step);
  }
}

// Kept for the next product with the same tensors, which only reads it.
const at::Tensor& Curvature::unmoved(const ParameterSubset& in) {
  if (unmoved_.defined() && unmoved_of_ == in.parameters()) return unmoved_;
  unmoved_.reset();
  unmoved_ = at::empty({in.size()}, store_.parameters().options());
  in.pack(leaves(in), unmoved_);
  unmoved_of_ = in.parameters();
  return unmoved_;
}

// Views of a vector over all parameters.
std::vector<at::Tensor> Curvature::chosen(const ParameterSubset& subset,
                                          const at::Tensor& all) const {
  const auto views = all_.views(all);
  std::vector<at::Tensor> of_subset;
  for (const auto parameter : subset.parameters()) of_subset.push_back(views[parameter]);
  return of_subset;
}

const DifferenceStep& Curvature::difference_step(const ParameterSubset& in,
                                                 const std::function<void()>& before) {
  const auto known = steps_.find(in.parameters());
  if (known != steps_.end()) return known->second;
  at::NoGradGuard no_grad;
  const auto product = [&](bool central) {
    return [this, &in, &before, central](const at::Tensor& unit, double step, const at::Tensor& y) {
      if (before) before();
      difference({in, unit, in, y}, step, central);
    };
  };
  const auto options = store_.master_options();
  const bool central = method_ == ProductMethod::central_difference;
  DifferenceProducts products{product(false), product(central), central ? 2 : 1};
  products.parameters = vector_norm(parameters());
  products.gradient = vector_norm(gradient());
  products.rounding = machine_epsilon(options.dtype().toScalarType()) / 2.0;
  auto random = at::empty({in.size()}, options);
  if (!random.is_meta()) {
    auto generator = make_generator(0, RandomStream::difference_step);
    random.copy_(at::randn({in.size()}, generator, options.device(at::kCPU)));
  }
  auto start = gradient_;
  if (in.parameters() != all_.parameters()) {
    start = at::empty({in.size()}, options);
    in.pack(chosen(in, gradient_), start);
  }
  const auto step = choose_difference_step(products, start, random);
  return steps_.emplace(in.parameters(), step).first->second;
}

void Curvature::difference_product(const HessianProduct& wanted) {
  at::NoGradGuard no_grad;
  const auto norm = vector_norm(wanted.v);
  if (norm == 0.0) {
    wanted.y.zero_();
    return;
  }
  difference(wanted, difference_step(wanted.in).length / norm,
             method_ == ProductMethod::central_difference);
}

void Curvature::hessian_product(const ParameterSubset& in, const at::Tensor& v,
                                const ParameterSubset& out, const at::Tensor& y) {
  hessian_products({{in, v, out, y}});
}

void Curvature::hessian_products(const std::vector<HessianProduct>& products) {
  if (!is_difference(method_)) {
    exact_products(products);
    return;
  }
  for (const auto& product : products) difference_product(product);
}

// ---- Gauss-Newton and Fisher --------------------------------------------------------------------

// A = J^T M J with J the Jacobian of `values`. `pulled` = J^T u is linear in u, so J v is its
// derivative in u: a second backward pass (Townsend 2017).
struct Curvature::Pullback {
  Request kind;
  const Batch* batch;
  at::Tensor values, u;
  std::vector<at::Tensor> pulled;  // one per tensor of `of`; undefined where unused
};

// Of Gauss-Newton J of the outputs, of Fisher J of the targets' losses.
Curvature::Pullback Curvature::pull_back(Request kind, const Batch& batch,
                                         const ParameterSubset& of) const {
  auto values = outputs(batch, twice_differentiable());
  if (kind == Request::fisher) values = output_loss_.rows(values, batch.targets);
  const auto u = at::zeros_like(values).requires_grad_(true);
  return {kind, &batch, values, u, grad({values}, leaves(of), {u}, true, true, true)};
}

// M: of Gauss-Newton the loss's own Hessian at the outputs, of Fisher the mean.
at::Tensor Curvature::middle(const Pullback& of, const at::Tensor& pushed) const {
  if (of.kind == Request::fisher) return pushed / count_;
  return output_loss_.hessian_product(of.values.detach(), of.batch->targets, count_, pushed);
}

// J^T M J v; `pulled` are those of the tensors of `subset`.
std::vector<at::Tensor> Curvature::outer_part(const Pullback& of,
                                              const std::vector<at::Tensor>& pulled,
                                              const ParameterSubset& subset, const at::Tensor& v,
                                              bool keep) const {
  const auto directions = subset.views(v);
  std::vector<at::Tensor> along_outputs, along;
  for (std::size_t i = 0; i < pulled.size(); ++i) {
    if (!pulled[i].defined()) continue;
    along_outputs.push_back(pulled[i]);
    along.push_back(directions[i]);
  }
  if (along.empty()) return {};
  const auto pushed = grad(along_outputs, {of.u}, along, true, false, false)[0];
  return grad({of.values}, leaves(subset), {middle(of, pushed)}, keep, false,
              /*allow_unused=*/true);
}

void Curvature::kept_outer_product(Request kind, const ParameterSubset& subset, const at::Tensor& v,
                                   const at::Tensor& y) {
  auto& kept = pullbacks_[kind];
  if (kept.empty()) {
    for (const auto& batch : batches_) kept.push_back(pull_back(kind, batch, all_));
    cost_ += 1.0;
  }
  add_kept_parts(subset, y, std::ssize(kept), [&](std::size_t batch) {
    std::vector<at::Tensor> pulled;
    for (const auto i : subset.parameters()) pulled.push_back(kept[batch].pulled[i]);
    return outer_part(kept[batch], pulled, subset, v, true);
  });
}

void Curvature::outer_product(Request kind, const ParameterSubset& subset, const at::Tensor& v,
                              const at::Tensor& y) {
  lead(kind);
  if (leads()) send(subset, subset, v);
  y.zero_();
  if (method_ == ProductMethod::kept_graph) {
    kept_outer_product(kind, subset, v, y);
  } else {
    for (const auto& batch : batches_) {
      const auto graph = pull_back(kind, batch, subset);
      const auto tensors = outer_part(graph, graph.pulled, subset, v, false);
      if (!tensors.empty()) subset.add(tensors, y);
    }
  }
  add_ranks(y);
  cost_ += outer_product_cost(method_);
}

void Curvature::gauss_newton_product(const ParameterSubset& subset, const at::Tensor& v,
                                     const at::Tensor& y) {
  outer_product(Request::gauss_newton, subset, v, y);
}

void Curvature::fisher_product(const ParameterSubset& subset, const at::Tensor& v,
                               const at::Tensor& y) {
  outer_product(Request::fisher, subset, v, y);
}

// ---- several processes --------------------------------------------------------------------------

// y = matrix[out, in] v as rank 0 sent it.
struct Curvature::Wanted {
  ParameterSubset in, out;
  at::Tensor v, y;
};

void Curvature::lead(Request request) const {
  if (leads()) ranks_->number_of_first(static_cast<std::int64_t>(request));
}

void Curvature::add_ranks(const at::Tensor& values) const {
  if (ranks_ == nullptr || ranks_->is_alone()) return;
  const auto flat = values.contiguous();
  ranks_->sum(flat);
  if (!flat.is_same(values)) values.copy_(flat);
}

void Curvature::add_ranks(double& value) const {
  if (ranks_ == nullptr) return;
  const auto all = ranks_->gather({&value, 1});
  value = std::accumulate(all.begin(), all.end(), 0.0);
}

namespace {

std::vector<std::size_t> shared_indices(const Ranks& ranks, const std::vector<std::size_t>& own) {
  const auto count = ranks.number_of_first(std::ssize(own));
  std::vector<std::int64_t> indices(own.begin(), own.end());
  indices.resize(std::size_t(count));
  ranks.take_first(at::from_blob(indices.data(), {count}, at::kLong));
  return {indices.begin(), indices.end()};
}

}  // namespace

void Curvature::send(const ParameterSubset& in, const ParameterSubset& out,
                     const at::Tensor& v) const {
  shared_indices(*ranks_, in.parameters());
  shared_indices(*ranks_, out.parameters());
  ranks_->take_first(v.contiguous());
}

Curvature::Wanted Curvature::receive() const {
  const ParameterSubset in(store_.layout(), shared_indices(*ranks_, {}));
  const ParameterSubset out(store_.layout(), shared_indices(*ranks_, {}));
  const auto options = store_.parameters().options();
  Wanted wanted{in, out, at::empty({in.size()}, options), at::empty({out.size()}, options)};
  ranks_->take_first(wanted.v);
  return wanted;
}

void Curvature::shared_difference(const HessianProduct& product, double step, bool central) {
  lead(Request::shared_difference);
  shared_indices(*ranks_, product.in.parameters());
  shared_indices(*ranks_, product.out.parameters());
  ranks_->gather({&step, 1});
  ranks_->number_of_first(central);
  shared_->difference(product.in, product.v, product.out, product.y, step, central);
  cost_ += central ? 2.0 : 1.0;
}

void Curvature::serve_shared(Request request) {
  if (request == Request::shared_parameters) {
    shared_->parameters({});
  } else if (request == Request::shared_gradient) {
    shared_->gradient({});
  } else {
    const ParameterSubset in(store_.layout(), shared_indices(*ranks_, {}));
    const ParameterSubset out(store_.layout(), shared_indices(*ranks_, {}));
    const double nothing = 0.0;
    const double step = ranks_->gather({&nothing, 1}).front();
    shared_->difference(in, {}, out, {}, step, ranks_->number_of_first(0) != 0);
  }
}

void Curvature::serve(RankService* beside) {
  while (true) {
    const auto request = static_cast<Request>(ranks_->number_of_first(0));
    if (request == Request::done) return;
    serve(request, beside);
  }
}

void Curvature::serve(Request request, RankService* beside) {
  if (request == Request::gradient) {
    gradient();
  } else if (request == Request::beside) {
    check_equal(beside != nullptr, true, "rank 0 asks for a service that is here");
    beside->serve(*ranks_);
  } else if (shared_) {
    serve_shared(request);
  } else if (request == Request::plain_gradient) {
    plain_gradient();
  } else if (request == Request::hessian) {
    std::vector<Wanted> wanted;
    keeps_hessian_graphs_ = ranks_->number_of_first(0) != 0;
    const auto count = ranks_->number_of_first(0);
    for (std::int64_t i = 0; i < count; ++i) wanted.push_back(receive());
    std::vector<HessianProduct> products;
    for (const auto& each : wanted) products.push_back({each.in, each.v, each.out, each.y});
    exact_products(products);
  } else {
    const auto wanted = receive();
    const bool fisher = request == Request::fisher;
    fisher ? fisher_product(wanted.in, wanted.v, wanted.y)
           : gauss_newton_product(wanted.in, wanted.v, wanted.y);
  }
}

}  // namespace blockwise
