#include "core/shared_differences.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "core/autograd.hpp"
#include "core/base/checked_math.hpp"

namespace blockwise {

SharedDifferences::SharedDifferences(ParameterStore& store, const Ranks& ranks,
                                     const Owners& owners, const std::vector<Batch>& batches,
                                     BatchLoss loss)
    : store_(store),
      ranks_(ranks),
      owners_(owners),
      loss_(std::move(loss)),
      all_(store.layout()),
      layers_(store, ranks, owners),
      rounds_(ceil_divide(std::ssize(batches), ranks.size())) {
  for (auto i = ranks.rank(); i < std::ssize(batches); i += ranks.size()) {
    batches_.push_back(batches[std::size_t(i)]);
  }
  counted_ = std::ssize(batches_);
  if (batches_.empty()) batches_.push_back(batches.front());
  const auto own = owners.place(ranks.rank(), store.layout().size());
  for (auto* values : {&unmoved_, &direction_, &sum_of_gradients_, &start_}) {
    *values = at::zeros({own}, store.master_options());
  }
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    of_own(unmoved_, i).copy_(store.own_piece(i).values);
  }
  GradientSum::Options options;
  options.micro_batches = rounds_;
  options.owners = owners;
  sum_ = make_sharded_sum(store, ranks, options, sum_of_gradients_);
}

at::Tensor SharedDifferences::of_own(const at::Tensor& own, std::size_t parameter) const {
  const auto piece = store_.own_piece(parameter);
  const auto first = store_.layout().parameters()[parameter].offset + piece.begin;
  return own.narrow(0, owners_.place(ranks_.rank(), first), piece.values.numel());
}

// The gradient where the parameters are. Every rank passes through the layers as often as the
// others: one without a batch of its own with one that weighs nothing.
double SharedDifferences::gradient_here() {
  const at::AutoGradMode with_graph(true);
  hand_out_weights(store_, ranks_, owners_);
  ForwardContext context;
  context.layer_weights = &layers_;
  double own = 0.0;
  sum_->begin_step();
  for (std::int64_t round = 0; round < rounds_; ++round) {
    sum_->begin_micro_batch();
    const auto loss =
        loss_(batches_[std::size_t(std::min(round, std::ssize(batches_) - 1))], context);
    if (round < counted_) own += loss.item<double>();
    backward(round < counted_ ? loss : loss * 0.0);
    sum_->end_micro_batch();
    layers_.end_pass();
  }
  sum_->end_step();
  const auto all = ranks_.gather({&own, 1});
  return std::accumulate(all.begin(), all.end(), 0.0);
}

// w + step * direction, from where they were; with 0 there to the bit.
void SharedDifferences::move(const ParameterSubset& in, double step) {
  const at::NoGradGuard no_grad;
  for (const auto i : in.parameters()) {
    const auto values = store_.own_piece(i).values;
    values.copy_(of_own(unmoved_, i));
    if (step != 0.0) values.add_(of_own(direction_, i), step);
  }
}

// A tensor of a packed vector, flat: rank 0's own, elsewhere memory for it.
at::Tensor SharedDifferences::at_hand(std::size_t parameter, const at::Tensor& packed,
                                      std::int64_t offset) const {
  const auto size = store_.layout().parameters()[parameter].size();
  return ranks_.is_first() ? packed.narrow(0, offset, size)
                           : at::empty({size}, store_.master_options());
}

void SharedDifferences::spread(const ParameterSubset& subset, const at::Tensor& packed) {
  for (std::size_t k = 0; k < subset.parameters().size(); ++k) {
    const auto i = subset.parameters()[k];
    const auto whole = at_hand(i, packed, subset.offset(k));
    ranks_.take_first(whole);
    const auto piece = store_.own_piece(i);
    of_own(direction_, i).copy_(whole.narrow(0, piece.begin, piece.values.numel()));
  }
}

void SharedDifferences::collect(const ParameterSubset& subset, const at::Tensor& own,
                                const at::Tensor& packed) const {
  for (std::size_t k = 0; k < subset.parameters().size(); ++k) {
    const auto i = subset.parameters()[k];
    const auto& of_layout = store_.layout().parameters()[i];
    const auto whole = at_hand(i, packed, subset.offset(k));
    const auto piece = store_.own_piece(i);
    whole.narrow(0, piece.begin, piece.values.numel()).copy_(of_own(own, i));
    const auto bounds = owners_.within(of_layout.offset, of_layout.offset + of_layout.size());
    ranks_.start_share(whole, bounds)->wait();
  }
}

void SharedDifferences::parameters(const at::Tensor& w) const { collect(all_, unmoved_, w); }

double SharedDifferences::gradient(const at::Tensor& g) {
  const double loss = gradient_here();
  start_.copy_(sum_of_gradients_);
  collect(all_, start_, g);
  return loss;
}

void SharedDifferences::difference(const ParameterSubset& in, const at::Tensor& v,
                                   const ParameterSubset& out, const at::Tensor& y, double step,
                                   bool central) {
  const at::NoGradGuard no_grad;
  spread(in, v);
  move(in, step);
  gradient_here();
  if (central) {
    if (!ahead_.defined()) ahead_ = at::empty_like(sum_of_gradients_);
    ahead_.copy_(sum_of_gradients_);
    move(in, -step);
    gradient_here();
  }
  move(in, 0.0);
  const auto& from = central ? ahead_ : sum_of_gradients_;
  const auto& to = central ? sum_of_gradients_ : start_;
  collect(out, from.sub_(to).div_(central ? 2.0 * step : step), y);
}

}  // namespace blockwise
