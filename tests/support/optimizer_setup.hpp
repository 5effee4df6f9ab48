// Parameters, gradients and configurations by formula, for tests that step an optimizer.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "optimizers/optimizer.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

namespace blockwise::testing {

inline OptimizerConfig optimizer_config(nlohmann::json fields) {
  if (!fields.contains("learning_rate")) fields["learning_rate"] = 1e-2;
  OptimizerConfig config;
  config.rule = fields.value("rule", config.rule);
  set_fields(config, fields);
  return config;
}

// Options under which a rule's step is a smooth function of the gradient, for comparisons of two
// ways to compute it. By default Muon and its kin round to bfloat16, and GaLore's and SOAP divide
// coordinates that are zero but for rounding by their own size; fp8_adamw rounds weights to fp16.
inline nlohmann::json smooth_options(const std::string& rule) {
  nlohmann::json fields = {{"rule", rule}};
  if (rule == "muon" || rule == "normuon") fields["newton_schulz_type"] = "float32";
  if (rule == "galore") fields["inner"] = {{"rule", "sgd_momentum"}};
  if (rule == "fira" || rule == "soap" || rule == "ldadam" || rule == "sophia_g" ||
      rule == "ada_pm") {
    fields["eps"] = 0.1;
  }
  if (rule == "ldadam") fields["rank"] = 2;
  if (rule == "fp8_adamw") fields["master"] = "float32";
  if (rule == "dion") fields["rank_fraction"] = 0.2;
  return fields;
}

// Rules that take estimates of the curvature, which not every driver has.
inline bool takes_curvature(const std::string& rule) {
  return optimizer_config({{"rule", rule}}).spec->build()->traits({}).curvature_every > 0;
}

// 0.4 * formula; norm gains around 1.
inline void fill_parameters(const ParameterStore& store) {
  at::NoGradGuard no_grad;
  auto values = formula_values(1, store.layout().size()) * 0.4;
  for (const auto& parameter : store.layout().parameters()) {
    if (parameter.role == ParameterRole::norm)
      values.narrow(0, parameter.offset, parameter.size()).add_(1.0);
  }
  store.parameters().copy_(values);
}

// The same, also of masters that are split.
inline void fill_masters(ParameterStore& store) {
  const ParameterStore values(store.layout(), at::kCPU);
  fill_parameters(values);
  for (std::size_t i = 0; i < store.layout().parameters().size(); ++i) {
    store.set_master(i, values.master(i));
  }
}

// formula * 2^-(index mod 13): magnitudes over four decades, another draw for every step.
inline void fill_gradients(const ParameterStore& store, int step) {
  at::NoGradGuard no_grad;
  const std::int64_t n = store.layout().size();
  const auto scale = at::exp2(-at::arange(n, at::kDouble).remainder(13));
  store.gradients().copy_(formula_values(std::uint32_t(10 + step), n) * scale);
}

// The largest difference, of numbers above 1 in units of their size; from whichever device.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  const auto x = a.cpu(), y = b.cpu();
  return ((x - y).abs() / y.abs().clamp_min(1.0)).max().item<double>();
}

}  // namespace blockwise::testing
