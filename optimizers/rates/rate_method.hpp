// RateMethod: the factors of optimizer.rates at every step, per section of the partition.
//
// by_role, blockwise_lr: with eta the scheduled rate as a share of its peak, r the role's factor
// and f the floor,
//   rate / peak = eta                                 for eta <= f
//               = f + (eta - f) (r - f) / (1 - f)     above
// so that a schedule that ends at f ends there for every role, as Blockwise LR's do. Deviation:
// their warm-up of a role is r times as long, which makes its first rates the same as here with f >
// 0.
//
// llr: at the steps 1, 1 + update_every, ... up to until_step, the exponents of the spectra of all
// hidden matrices (power_law.hpp) give new factors between `lowest` and `highest`; embeddings and
// head have `highest`, vectors 1. Within ramp_steps steps the factors change to the new ones in
// equal parts, from 1 at first. Sections of a fused tensor are matrices of their own. Deviation:
// the steps up to which factors change are counted, not a share of the run.
//
// Decay grows with the rate, as it does in both papers' code.
#pragma once

#include <functional>

#include "core/partition/block_rates.hpp"
#include "optimizers/rates/rate_config.hpp"
#include "optimizers/state/state_store.hpp"

namespace blockwise {

class RateMethod {
 public:
  // partition must outlive this. base: rates that the factors multiply.
  RateMethod(const RateConfig& config, double peak, const ParameterLayout& layout,
             const Partition& partition, BlockRates base);

  const RateConfig& config() const { return config_; }
  // A parameter's weights before the step; asked for at llr's decompositions alone.
  using Weights = std::function<at::Tensor(std::size_t parameter)>;
  // The rates of step `step`, 1 at the first one, in place. learning_rate: scheduled.
  void set(BlockRates& rates, std::int64_t step, double learning_rate, const Weights& weights);

  // What the next steps need: rate_factors/PARAMETER, [sections, 2] of float64: at the last
  // decomposition, and where they go. Nothing but for llr.
  NamedTensors state() const { return state_.by_parameter(); }
  // As StateStore::load().
  void load(const NamedTensors& saved) {
    state_.load(saved);
    measured_ = 0;
  }

 private:
  double of_role(ParameterRole role, double share) const;
  double ramp(std::int64_t step) const;
  void measure(const Weights& weights, std::int64_t step);

  RateConfig config_;
  double peak_;
  const ParameterLayout& layout_;
  const Partition& partition_;
  BlockRates base_;
  StateStore state_;
  std::int64_t measured_ = 0;  // the step of the last decompositions; 0: none here
};

}  // namespace blockwise
