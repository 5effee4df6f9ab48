// An approximation of AdaPM (Zhang, Liu and Fang, arXiv 2510.09103), whose algorithm is not public:
// AdamW with a full first moment for some roles, one of low rank for others, and none for the rest.
// What is published is which roles (tables and attention outputs: none; queries, keys and MLPs: low
// rank; values: full), that the factors are fitted from those of the last step, and that the bias
// of what is not kept is corrected. Here, for a matrix of low rank with factors L [rows, rank] and
// R:
//   A = beta1 L R + (1 - beta1) g';  L <- qr(A R^T), R <- L^T A: a step of the power iteration that
//   starts from the last factors, or from N(0, 1) in the place of R^T where there are none
//   m = L R / (1 - beta1^t) + g' - L L^T g': outside the span of L the average of the gradients is
//   taken to be the last one
// and m = g' without a first moment. v, the step, eps and decay as in adamw.cpp; v of a matrix is
// one per element, or for second_moment "row" the mean of each output row, as Adam-mini has it.
// Sections of a fused tensor go each by its own role; vectors keep everything. State: 4 rank (rows
// + columns) bytes a matrix of low rank, none of the first moment where there is none, 4 a
// parameter otherwise; v 4 a parameter, or 4 rows.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/adam_options.hpp"
#include "optimizers/matrices/fixed_sums.hpp"
#include "optimizers/matrices/gradient_basis.hpp"
#include "optimizers/random_draws.hpp"
#include "optimizers/rule_spec.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {
namespace {

struct AdaPmOptions {
  std::int64_t rank = 16;
  std::vector<std::string> without = {"token_embedding", "position_embedding", "attention_output"};
  std::vector<std::string> low_rank = {"query", "key", "mlp_in", "mlp_gate", "mlp_out"};
  std::string second_moment = "element";
  AdamOptions adam;

  void visit(FieldVisitor& v) {
    v.integer({"rank", "of a first moment of low rank; at most the smaller side counts"}, rank,
              {1, 1 << 20});
    v.choice_list({"without", "roles of matrices without a first moment"}, without, role_names());
    v.choice_list({"low_rank", "roles of matrices with a first moment of low rank"}, low_rank,
                  role_names());
    v.choice({"second_moment", "of a matrix: one per element, or one per output row"},
             second_moment, {"element", "row"});
    adam.visit(v);
    v.check("low_rank", named_twice());
  }

  std::string named_twice() const {
    for (const auto& role : low_rank) {
      if (std::ranges::count(without, role) > 0) return "role '" + role + "' is in without, too";
    }
    return "";
  }
};

class AdaPm : public UpdateRule {
 public:
  using Options = AdaPmOptions;
  explicit AdaPm(const Options& options) : options_(options) {}

  std::vector<StateSpec> state(const Parameter& parameter, const TensorPartition&) const override {
    const bool rows = parameter.is_matrix() && options_.second_moment == "row";
    const auto shape = rows ? std::vector{parameter.rows()} : parameter.shape;
    std::vector<StateSpec> specs{{"exp_avg_sq", shape, StateUse::non_negative}};
    const auto end = parts(parameter).back().end();
    const auto add = [&](const std::string& name, std::int64_t size, StateUse use) {
      if (size > 0) specs.push_back({name, {size}, use});
    };
    add("exp_avg", end.full, StateUse::average);
    add("exp_avg_left", end.left, StateUse::basis);
    add("exp_avg_right", end.right, StateUse::accumulator);
    return specs;
  }

  at::Tensor update(const ParameterStep& p, const StepScope& scope) const override {
    const auto g = scaled_gradient(p, scope);
    const auto moment = options_.adam.second_moment(scope.step);
    const auto v = p.state.load(0).view({p.parameter.rows(), -1});
    const auto squares = g.square();
    v.mul_(moment.keep).add_(v.size(1) == g.size(1) ? squares : row_means(squares), moment.add);
    const auto root = v.sqrt().div_(std::sqrt(moment.bias)).add_(options_.adam.eps);
    std::vector<at::Tensor> first;
    for (const auto& part : parts(p.parameter)) {
      first.push_back(first_moment(part, g.narrow(0, part.row_begin, part.rows), p, scope));
    }
    return take_step(as_matrix(p, p.weight), at::cat(first) / root,
                     {scope.learning_rate, scope.learning_rate * p.weight_decay, element_rates(p)});
  }

 private:
  // Rows of one role, and where their values begin in each tensor of the state.
  struct Place {
    std::int64_t full = 0, left = 0, right = 0;
  };
  struct Part {
    std::int64_t row_begin, rows, columns;
    bool full;
    std::int64_t rank;  // 0 where the moment is full, or none
    Place begin;

    Place end() const {
      return {begin.full + (full ? rows * columns : 0), begin.left + rows * rank,
              begin.right + rank * columns};
    }
  };

  std::vector<Part> parts(const Parameter& parameter) const {
    std::vector<Part> all;
    const auto add = [&](ParameterRole role, std::int64_t rows) {
      Part part{0, rows, parameter.columns(), true, 0, {}};
      if (!all.empty()) part.row_begin = all.back().row_begin + all.back().rows;
      if (!all.empty()) part.begin = all.back().end();
      const bool low = parameter.is_matrix() && named(options_.low_rank, role);
      if (low) part.rank = std::min({options_.rank, rows, part.columns});
      part.full = !low && !(parameter.is_matrix() && named(options_.without, role));
      all.push_back(part);
    };
    for (const auto& section : parameter.sections) add(section.role, section.rows);
    if (all.empty()) add(parameter.role, parameter.rows());
    return all;
  }

  static bool named(const std::vector<std::string>& roles, ParameterRole role) {
    return std::ranges::count(roles, role_name(role)) > 0;
  }

  // Of the part's gradient, corrected for the average's start.
  at::Tensor first_moment(const Part& part, const at::Tensor& g, const ParameterStep& p,
                          const StepScope& scope) const {
    const double beta1 = options_.adam.beta1;
    const double bias = 1.0 - std::pow(beta1, double(scope.step));
    if (part.full) {
      const auto m = p.state.load(1).narrow(0, part.begin.full, g.numel()).view(g.sizes());
      return m.mul_(beta1).add_(g, 1.0 - beta1) / bias;
    }
    if (part.rank == 0) return g;
    const auto factor = [&](std::size_t from_last, std::int64_t begin, std::int64_t rows,
                            std::int64_t columns) {
      const auto& all = p.state.load(p.state.size() - from_last);
      return all.narrow(0, begin, rows * columns).view({rows, columns});
    };
    const auto left = factor(2, part.begin.left, part.rows, part.rank);
    const auto right = factor(1, part.begin.right, part.rank, part.columns);
    const auto average = left.mm(right).mul_(beta1).add_(g, 1.0 - beta1);
    const auto start =
        is_unset(right) ? drawn_normal(p, scope, right.sizes(), part.row_begin).to(g.scalar_type())
                        : right;
    left.copy_(std::get<0>(at::linalg_qr(average.mm(start.t()))));
    right.copy_(left.t().mm(average));
    return left.mm(right) / bias + g - left.mm(left.t().mm(g));
  }

  Options options_;
};

}  // namespace

std::unique_ptr<RuleSpec> make_ada_pm() {
  return rule_spec<AdaPm>(
      {"ada_pm", "an approximation of AdaPM: first moments full, of low rank or none, by role"});
}

}  // namespace blockwise
