#include "optimizers/random_draws.hpp"

#include <ATen/ATen.h>

#include "core/base/random_stream.hpp"

namespace blockwise {
namespace {

at::Generator generator(const ParameterStep& p, const StepScope& scope, std::int64_t draw) {
  return make_generator(scope.seed, RandomStream::rule, std::uint64_t(p.parameter.offset),
                        std::uint64_t(draw));
}

}  // namespace

at::Tensor drawn_normal(const ParameterStep& p, const StepScope& scope, at::IntArrayRef shape,
                        std::int64_t draw) {
  return at::randn(shape, generator(p, scope, draw), at::kFloat).to(p.weight.device());
}

at::Tensor drawn_indices(const ParameterStep& p, const StepScope& scope, std::int64_t count,
                         std::int64_t bound, std::int64_t draw) {
  return at::randperm(bound, generator(p, scope, draw), at::kLong)
      .narrow(0, 0, count)
      .to(p.weight.device());
}

}  // namespace blockwise
