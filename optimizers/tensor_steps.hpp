// Pieces of steps in plain tensor operations, for UpdateRule::update() and as the second oracle of
// the kernels.
#pragma once

#include "optimizers/parameter_step.hpp"

namespace blockwise {

// A tensor of the parameter's shape as the matrix that its partition cuts, [rows, columns]; of a
// stack of them [number, rows, columns].
at::Tensor as_matrix(const ParameterStep& parameter, const at::Tensor& x);

// Rows of a section of such a tensor.
at::Tensor rows_of(const PartitionSection& section, const at::Tensor& x);

// g' = gradient_scale * gradient, as_matrix().
at::Tensor scaled_gradient(const ParameterStep& parameter, const StepScope& scope);

// Factors of the learning rate of a section, broadcasting to its [rows, columns]; undefined where
// they are 1.
at::Tensor section_rates(const ParameterStep& parameter, std::size_t section);

// Of the whole tensor, [rows, columns]; undefined where they are 1.
at::Tensor element_rates(const ParameterStep& parameter);

// element_rates() times a factor of the whole tensor, 0-d of float64: what a rule makes of its
// rate.
at::Tensor scaled_rates(const ParameterStep& parameter, const at::Tensor& factor);

// How far a step goes: w <- (1 - rate shrink) w - rate size direction.
struct StepSize {
  double size;        // of the direction, the learning rate in it
  double shrink;      // learning rate times weight decay
  at::Tensor rate{};  // factors that broadcast to w; undefined for 1
};

// w: a matrix, a vector, or a stack of matrices. Returns the sum of (w_new - w_old)^2, 0-d of
// float64, or one for each matrix of the stack.
at::Tensor take_step(const at::Tensor& w, const at::Tensor& direction, const StepSize& step);

// Decay after the step: w <- (1 - rate shrink) (w - rate size direction). Returns what take_step()
// does.
at::Tensor step_then_decay(const at::Tensor& w, const at::Tensor& direction, const StepSize& step);

// For kernels: the rates of a section, null where they are 1. `map` must outlive the pointer.
const kernels::RateMap* rate_map(const ParameterStep& parameter, std::size_t section,
                                 kernels::RateMap& map);

// Whether rates differ within a tensor, so that a kernel must go section by section.
bool has_rates(const ParameterStep& parameter);

}  // namespace blockwise
