#include "optimizers/sharding/shared_state.hpp"

#include <ATen/ATen.h>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

std::map<std::string, at::Tensor> by_name(const NamedTensors& tensors) {
  return {tensors.begin(), tensors.end()};
}

}  // namespace

SharedState::SharedState(const NamedTensors& own, const NamedTensors& all, const Ranks& ranks)
    : ranks_(ranks), own_(by_name(own)) {
  std::vector<double> sizes;
  for (const auto& [name, tensor] : all) {
    names_.push_back(name);
    shapes_.push_back(tensor.sizes().vec());
    types_.push_back(tensor.scalar_type());
    const auto found = own_.find(name);
    sizes.push_back(found == own_.end() ? 0.0 : double(found->second.numel()));
  }
  const auto of_all = ranks.gather(sizes);
  for (std::size_t k = 0; k < names_.size(); ++k) {
    Shares shares{0};
    for (std::int64_t r = 0; r < ranks.size(); ++r) {
      const auto size = of_all[std::size_t(r) * names_.size() + k];
      shares.push_back(shares.back() + std::int64_t(size));
    }
    check_equal(shares.back(), all[k].second.numel(), "values of all shards of " + names_[k]);
    shares_.push_back(std::move(shares));
  }
}

at::Tensor SharedState::collect(std::size_t k) const {
  auto whole = at::empty({shares_[k].back()}, at::TensorOptions().dtype(types_[k]));
  const auto begin = shares_[k][std::size_t(ranks_.rank())];
  const auto size = shares_[k][std::size_t(ranks_.rank()) + 1] - begin;
  if (size > 0) {
    whole.narrow(0, begin, size).copy_(own_.at(names_[k]).reshape({-1}));
  }
  ranks_.start_share(whole, shares_[k])->wait();
  return whole.view(shapes_[k]);
}

std::vector<LateTensor> SharedState::tensors() const {
  std::vector<LateTensor> tensors;
  for (std::size_t k = 0; k < names_.size(); ++k) {
    tensors.push_back({names_[k], shapes_[k], types_[k], [this, k] { return collect(k); }});
  }
  return tensors;
}

NamedTensors SharedState::pieces(const NamedTensors& saved) const {
  const auto given = by_name(saved);
  NamedTensors pieces;
  for (std::size_t k = 0; k < names_.size(); ++k) {
    const auto begin = shares_[k][std::size_t(ranks_.rank())];
    const auto size = shares_[k][std::size_t(ranks_.rank()) + 1] - begin;
    const auto found = given.find(names_[k]);
    if (size == 0 || found == given.end()) continue;  // what is missing its owner names
    require_input(found->second.numel() == shares_[k].back(), "'{}' has {} values, the model's {}",
                  names_[k], found->second.numel(), shares_[k].back());
    pieces.emplace_back(names_[k], found->second.reshape({-1}).narrow(0, begin, size));
  }
  return pieces;
}

}  // namespace blockwise
