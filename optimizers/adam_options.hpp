// What AdamW and Adam-mini share: their options and a step's constants.
#pragma once

#include "core/fields.hpp"
#include "optimizers/update_rule.hpp"

namespace blockwise {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;

  // One step of a second moment: v <- keep v + add g'^2, corrected by 1 / bias. beta2 = 1 is Adam's
  // limit that theory takes (Zhang et al., arXiv 2406.16793, Sec. 2): the first squared gradient
  // stays, v_t = g_1'^2.
  struct MomentStep {
    double keep, add, bias;
  };
  MomentStep second_moment(std::int64_t step) const;

  void visit(FieldVisitor& v);
  // In double; bias corrections 1 - beta^t as in Kingma and Ba, arXiv 1412.6980, Algorithm 1.
  kernels::AdamStep step(const StepInfo& info) const;
};

// The rules of these options, for callers without a YAML.
std::unique_ptr<UpdateRule> adamw_rule(const AdamOptions& options);
std::unique_ptr<UpdateRule> adam_mini_rule(const AdamOptions& options);

// One step of one section in plain tensor operations, given the second moment v of every element
// (any shape that broadcasts against the section's [rows, columns] view). Returns sum (w_new -
// w_old)^2.
at::Tensor adam_section_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                                const at::Tensor& v, const AdamOptions& options,
                                const StepInfo& info);

// The same with v = 1 and no eps: a step along the average of gradients; shapes alike.
at::Tensor momentum_section_tensors(const at::Tensor& w, const at::Tensor& g, const at::Tensor& m,
                                    const AdamOptions& options, const StepInfo& info);

}  // namespace blockwise
