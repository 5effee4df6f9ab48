// SlimAdam (Kalra, Kirchenbauer, Barkeshli and Goldstein, arXiv 2503.01843, Sec. 5), in the form of
// the authors' repository: AdamW whose second moment is averaged along those axes of a matrix where
// the paper finds it above its own noise, one choice per role.
//   v <- beta2 v + (1 - beta2) mean_K g'^2, K the inputs of each output, the outputs of each input,
//   both, or nothing;  m and the step as in adamw.cpp
// Inputs are the columns of a matrix [out, in] and the rows of a table [tokens, width]. The
// defaults are Table 1 of the paper. Sections of a fused tensor are averaged each by its own role.
// Vectors keep every value. Deviations: none; which axes a model's own gradients would choose (the
// paper's signal-to-noise ratios) is not measured here, the roles are named. State: 4 bytes a
// parameter, and 4 per value of v: rows, columns, or 1.
#include <ATen/ATen.h>

#include <algorithm>

#include "optimizers/adam_options.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

using Roles = std::vector<std::string>;

bool names(const Roles& roles, ParameterRole role) {
  return std::ranges::count(roles, role_name(role)) > 0;
}

struct SlimAdamOptions {
  AdamOptions adam;
  Roles fan_in = {"query", "key", "lm_head"};
  Roles fan_out = {"value",           "attention_output",  "mlp_in", "mlp_gate", "mlp_out",
                   "token_embedding", "position_embedding"};
  Roles both;

  void visit(FieldVisitor& v) {
    adam.visit(v);
    v.choice_list({"fan_in", "roles with a second moment per output, averaged over its inputs"},
                  fan_in, role_names());
    v.choice_list({"fan_out", "roles with a second moment per input, averaged over its outputs"},
                  fan_out, role_names());
    v.choice_list({"both", "roles with one second moment per matrix"}, both, role_names());
    v.check("both", named_twice());
  }

  std::string named_twice() const {
    for (const auto& role : role_names()) {
      const auto count = std::ranges::count(fan_in, role) + std::ranges::count(fan_out, role) +
                         std::ranges::count(both, role);
      if (count > 1) return "role '" + role + "' is named twice in fan_in, fan_out and both";
    }
    return "";
  }
};

// Rows of one role, and the tiles of them that share a second moment.
struct Part {
  std::int64_t row_begin, rows, columns;
  std::int64_t tile_rows, tile_columns;
  std::int64_t first;  // of its values in the tensor's

  std::int64_t values() const { return rows / tile_rows * (columns / tile_columns); }
  at::Tensor of(const at::Tensor& x) const { return x.narrow(0, row_begin, rows); }
};

class SlimAdam : public UpdateRule, public FusedStep {
 public:
  using Options = SlimAdamOptions;
  explicit SlimAdam(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const auto last = parts(parameter).back();
    return {{"exp_avg", parameter.shape},
            {"exp_avg_sq", {last.first + last.values()}, StateUse::non_negative}};
  }
  std::int64_t rows_together(const Parameter& parameter, const TensorPartition&) const override {
    const auto all = parts(parameter);
    return all.size() == 1 && all[0].tile_rows == 1 ? 1 : parameter.rows();
  }
  const FusedStep* fused(const KernelKey& key) const override {
    return key.is_float_cpu() ? this : nullptr;
  }

  double apply(const ParameterStep& p, const StepScope& scope) const override {
    if (has_rates(p)) return update(p, scope).item<double>();
    const auto step = options_.adam.step(scope, p.weight_decay);
    double moved = 0.0;
    for (const auto& part : parts(p.parameter)) {
      const auto at = part.row_begin * part.columns;
      const kernels::MatrixView matrix{p.weight.data_ptr<float>() + at,
                                       p.gradient.data_ptr<float>() + at, p.state.data(0) + at,
                                       part.rows, part.columns};
      auto* v = p.state.data(1) + part.first;
      moved += part.values() == part.rows * part.columns
                   ? kernels::adam_per_element(matrix, v, step, scope.space)
                   : kernels::adam_tiles(matrix, v, {part.tile_rows, part.tile_columns}, step,
                                         scope.space);
    }
    return moved;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto w = as_matrix(p, p.weight), m = as_matrix(p, p.state.load(0));
    const auto moment = options_.adam.second_moment(scope.step);
    const auto rates = element_rates(p);
    auto moved = at::zeros({}, g.options().dtype(at::kDouble));
    for (const auto& part : parts(p.parameter)) {
      const auto v = p.state.load(1)
                         .narrow(0, part.first, part.values())
                         .view({part.rows / part.tile_rows, part.columns / part.tile_columns});
      v.mul_(moment.keep).add_(means(part, part.of(g).square()), moment.add);
      auto size = options_.adam.size(scope, p.weight_decay);
      if (rates.defined()) size.rate = part.of(rates);
      moved += adam_tensors({part.of(w), part.of(g), part.of(m), v}, options_.adam, scope, size);
    }
    return moved;
  }

 private:
  // Over the tiles, each of which is an element, a row, a column or all.
  static at::Tensor means(const Part& part, const at::Tensor& x) {
    const auto over_rows = part.tile_rows == 1 ? x : column_means(x);
    return part.tile_columns == 1 ? over_rows : row_means(over_rows);
  }

  std::vector<Part> parts(const Parameter& parameter) const {
    std::vector<Part> all;
    const auto add = [&](ParameterRole role, std::int64_t rows) {
      Part part{0, rows, parameter.columns(), 1, 1, 0};
      if (!all.empty()) {
        part.row_begin = all.back().row_begin + all.back().rows;
        part.first = all.back().first + all.back().values();
      }
      if (parameter.is_matrix()) set_tile(part, role);
      all.push_back(part);
    };
    for (const auto& section : parameter.sections) add(section.role, section.rows);
    if (all.empty()) add(parameter.role, parameter.rows());
    return all;
  }

  void set_tile(Part& part, ParameterRole role) const {
    const bool both = names(options_.both, role);
    const bool table =
        role == ParameterRole::token_embedding || role == ParameterRole::position_embedding;
    const auto& along_rows = table ? options_.fan_in : options_.fan_out;
    const auto& along_columns = table ? options_.fan_out : options_.fan_in;
    if (both || names(along_rows, role)) part.tile_rows = part.rows;
    if (both || names(along_columns, role)) part.tile_columns = part.columns;
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_slim_adam() {
  return rule_spec<SlimAdam>(
      {"slim_adam", "SlimAdam: AdamW with second moments averaged along axes, by role"});
}

}  // namespace blockwise
