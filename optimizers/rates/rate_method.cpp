#include "optimizers/rates/rate_method.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/rates/power_law.hpp"

namespace blockwise {
namespace {

std::vector<std::vector<StateSpec>> specs_of(const RateConfig& config, const Partition& partition) {
  std::vector<std::vector<StateSpec>> specs;
  for (const auto& tensor : partition.tensors()) {
    auto& own = specs.emplace_back();
    if (config.method != "llr") continue;
    own.push_back(
        {"rate_factors", {std::ssize(tensor.sections), 2}, StateUse::accumulator, at::kDouble});
  }
  return specs;
}

bool is_table(ParameterRole role) {
  return role == ParameterRole::token_embedding || role == ParameterRole::position_embedding ||
         role == ParameterRole::lm_head;
}

}  // namespace

RateMethod::RateMethod(const RateConfig& config, double peak, const ParameterLayout& layout,
                       const Partition& partition, BlockRates base)
    : config_(config),
      peak_(peak),
      layout_(layout),
      partition_(partition),
      base_(std::move(base)),
      state_(layout, specs_of(config, partition), at::kCPU) {
  if (config_.method != "llr") return;
  for (std::size_t i = 0; i < partition.tensors().size(); ++i) state_.of(i).load(0).fill_(1.0);
}

double RateMethod::of_role(ParameterRole role, double share) const {
  const double floor = config_.floor;
  if (share <= floor) return 1.0;
  const double factor = config_.factor(role);
  const double rate = factor + (share - 1.0) * (factor - floor) / (1.0 - floor);
  return rate / share;
}

// How much of the way to the new factors is gone at a step: decompositions are at the steps
// 1 + n update_every, the last one at or before until_step.
double RateMethod::ramp(std::int64_t step) const {
  auto last = (step - 1) / config_.update_every;
  if (config_.until_step > 0) {
    last = std::min(last, (config_.until_step - 1) / config_.update_every);
  }
  const auto gone = step - last * config_.update_every;
  return std::min(1.0, double(gone) / double(config_.ramp_steps));
}

void RateMethod::measure(const Weights& weights, std::int64_t step) {
  measured_ = step;
  std::vector<at::Tensor> places;
  std::vector<double> exponents;
  const double gone = step == 1 ? 0.0 : ramp(step - 1);
  for (std::size_t i = 0; i < layout_.parameters().size(); ++i) {
    const auto& parameter = layout_.parameters()[i];
    const auto& sections = partition_.tensors()[i].sections;
    const auto factors = state_.of(i).load(0);
    factors.select(1, 0).lerp_(factors.select(1, 1), gone);
    if (!parameter.is_matrix()) continue;
    const auto matrix = weights(i).reshape({parameter.rows(), parameter.columns()});
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const auto place = factors[std::int64_t(s)][1];
      if (is_table(sections[s].role)) {
        place.fill_(config_.highest);
      } else {
        places.push_back(place);
        exponents.push_back(
            power_law_exponent(matrix.narrow(0, sections[s].row_begin, sections[s].rows)));
      }
    }
  }
  const auto found = factors_of_exponents(exponents, config_.lowest, config_.highest);
  for (std::size_t k = 0; k < places.size(); ++k) places[k].fill_(found[k]);
}

void RateMethod::set(BlockRates& rates, std::int64_t step, double learning_rate,
                     const Weights& weights) {
  const bool spectral = config_.method == "llr";
  const bool decomposes = (step - 1) % config_.update_every == 0 &&
                          (config_.until_step == 0 || step <= config_.until_step);
  // Once, also where a step is made again since its gradient was not finite.
  if (spectral && decomposes && step != measured_) measure(weights, step);
  const double share = peak_ > 0.0 ? learning_rate / peak_ : 0.0;
  for (std::size_t i = 0; i < rates.tensors.size(); ++i) {
    const auto& sections = partition_.tensors()[i].sections;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      double factor = 1.0;
      if (spectral) {
        const auto* ends = state_.of(i).load(0).data_ptr<double>() + 2 * s;
        factor = ends[0] + (ends[1] - ends[0]) * ramp(step);
      } else if (config_.is_by_role()) {
        factor = of_role(sections[s].role, share);
      }
      const auto& base = base_.tensors[i][s].rate;
      std::ranges::transform(base, rates.tensors[i][s].rate.begin(),
                             [&](double value) { return value * factor; });
    }
  }
}

}  // namespace blockwise
