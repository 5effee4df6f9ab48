// Numbers that a rule draws: a pure function of the run's seed, the parameter and the number of the
// draw, so that a resumed run draws the same, and so does every device (they are drawn on the CPU).
#pragma once

#include "optimizers/parameter_step.hpp"

namespace blockwise {

// Independent of N(0, 1), float32 of this shape on the parameter's device.
at::Tensor drawn_normal(const ParameterStep& parameter, const StepScope& scope,
                        at::IntArrayRef shape, std::int64_t draw);

// `count` different whole numbers below `bound`, int64 on the parameter's device.
at::Tensor drawn_indices(const ParameterStep& parameter, const StepScope& scope, std::int64_t count,
                         std::int64_t bound, std::int64_t draw);

}  // namespace blockwise
