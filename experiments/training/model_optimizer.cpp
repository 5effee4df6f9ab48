#include "experiments/training/model_optimizer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/error.hpp"
#include "core/parallel/gathered_layers.hpp"
#include "experiments/records/checkpoint.hpp"

namespace blockwise {
namespace {

// Bounds of the shares within one parameter.
Shares bounds_within(const Owners& owners, const Parameter& parameter) {
  return owners.within(parameter.offset, parameter.offset + parameter.size());
}

}  // namespace

ModelOptimizer::ModelOptimizer(const OptimizerConfig& config, const ModelShares& shares,
                               ParameterStore& store, const Ranks& ranks, std::uint64_t seed)
    : shares_(shares), store_(store), ranks_(ranks) {
  if (shares_.is_whole()) {
    own_ = std::make_unique<Optimizer>(config, store, seed);
    return;
  }
  cut(config, seed);
  shared_.emplace(own_->saved_state(), shares_.all().saved_state(), ranks);
}

void ModelOptimizer::cut(const OptimizerConfig& config, std::uint64_t seed) {
  auto shard = cut_shard(store_.layout(), partition(), shares_.owners(), ranks_.rank());
  shard.total = [&ranks = ranks_](double own) {
    const auto all = ranks.gather({&own, 1});
    return std::accumulate(all.begin(), all.end(), 0.0);
  };
  own_parameters_ = std::make_unique<ParameterStore>(store_, shard.layout, shard.begin);
  numbers_ = shard.numbers;
  own_ = std::make_unique<Optimizer>(config, *own_parameters_, std::move(shard), seed);
}

StepReport ModelOptimizer::step(double learning_rate) {
  const auto report = own_->step(learning_rate);
  if (!shares_.is_whole()) hand_out();
  return report;
}

// What this share has become, to all others: as the model computes with it where the masters stay.
void ModelOptimizer::hand_out() const {
  if (!store_.has_all_masters()) {
    hand_out_weights(store_, ranks_, shares_.owners());
    return;
  }
  ranks_.start_share(store_.parameters(), shares_.owners().units().front())->wait();
  for (std::size_t i = 0; i < store_.tensors().size(); ++i) store_.publish(i);
}

TensorNorms ModelOptimizer::norms(std::int64_t step) const {
  auto own =
      measure_norms(own_parameters_ ? *own_parameters_ : store_, own_->squared_updates(), step);
  own.rate = own_->learning_rates();
  return own_parameters_ ? norms_of_model(own) : own;
}

// Squares of a tensor's pieces add up; its rate is that of each piece.
TensorNorms ModelOptimizer::norms_of_model(const TensorNorms& own) const {
  constexpr std::size_t kNumbers = 4;
  const auto tensors = store_.tensors().size();
  std::vector<double> pieces(kNumbers * tensors, 0.0);
  for (std::size_t k = 0; k < numbers_.size(); ++k) {
    const auto square = [&](const std::vector<double>& norms) { return norms[k] * norms[k]; };
    const auto of_tensor = pieces.begin() + std::ptrdiff_t(kNumbers * numbers_[k]);
    std::ranges::copy(
        std::array{square(own.gradient), square(own.update), square(own.weight), own.rate[k]},
        of_tensor);
  }
  const auto all = ranks_.gather(pieces);
  TensorNorms norms{own.step, {}, {}, {}, {}};
  for (std::size_t i = 0; i < tensors; ++i) {
    std::array<double, kNumbers> sum = {};
    for (auto place = kNumbers * i; place < all.size(); place += pieces.size()) {
      for (std::size_t n = 0; n + 1 < kNumbers; ++n) sum[n] += all[place + n];
      sum.back() = std::max(sum.back(), all[place + kNumbers - 1]);
    }
    norms.gradient.push_back(std::sqrt(sum[0]));
    norms.update.push_back(std::sqrt(sum[1]));
    norms.weight.push_back(std::sqrt(sum[2]));
    norms.rate.push_back(sum[3]);
  }
  return norms;
}

at::Tensor ModelOptimizer::master(std::size_t i) const {
  if (store_.has_all_masters()) return store_.master(i);
  const at::NoGradGuard no_grad;
  const auto& parameter = store_.layout().parameters()[i];
  const auto piece = store_.own_piece(i);
  const auto whole = at::empty({parameter.size()}, piece.values.options());
  whole.narrow(0, piece.begin, piece.values.numel()).copy_(piece.values);
  ranks_.start_share(whole, bounds_within(shares_.owners(), parameter))->wait();
  return whole.view(parameter.shape);
}

std::vector<LateTensor> ModelOptimizer::parameter_tensors(const BeforeCollect& before) const {
  auto tensors = blockwise::parameter_tensors(store_);
  if (store_.has_all_masters()) return tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].make = [this, before, i] {
      before(std::int64_t(i));
      return master(i);
    };
  }
  return tensors;
}

std::vector<LateTensor> ModelOptimizer::state_tensors(const BeforeCollect& before) const {
  if (!shared_) return blockwise::state_tensors(*own_);
  const auto parameters = store_.tensors().size();
  auto tensors = shared_->tensors();
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    tensors[k].make = [this, before, parameters, k] {
      before(std::int64_t(parameters + k));
      return shared_->collect(k);
    };
  }
  return tensors;
}

// Parameters first, then the state.
void ModelOptimizer::collect(std::int64_t number) const {
  const auto parameters = std::ssize(store_.tensors());
  if (number < parameters) {
    master(std::size_t(number));
  } else {
    shared_->collect(std::size_t(number - parameters));
  }
}

void ModelOptimizer::load_state(std::int64_t steps, const NamedTensors& saved) {
  own_->load_state(steps, shared_ ? shared_->pieces(saved) : saved);
}

}  // namespace blockwise
