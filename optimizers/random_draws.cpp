#include "optimizers/random_draws.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"

namespace blockwise {
namespace {

at::Generator generator(const ParameterStep& p, const StepScope& scope, std::int64_t draw) {
  return make_generator(scope.seed, RandomStream::rule, std::uint64_t(p.first_element),
                        std::uint64_t(draw));
}

std::string key_of(std::string_view name, std::int64_t draw) {
  return fmt::format("random/{}/{}", draw + 1, name);
}

}  // namespace

template <typename... Args>
void GivenDraws::require(bool condition, const std::string& key, fmt::format_string<Args...> text,
                         Args&&... args) const {
  require_input(condition, "{}: '{}' {}", place_, key,
                fmt::format(text, std::forward<Args>(args)...));
}

const at::Tensor& GivenDraws::find(const std::string& key, at::IntArrayRef shape) {
  const auto found = draws_.find(key);
  require(found != draws_.end(), key, "is missing: the rule draws [{}] numbers there",
          fmt::join(shape, ", "));
  require(found->second.sizes() == shape, key, "has the shape [{}], the rule draws [{}]",
          fmt::join(found->second.sizes(), ", "), fmt::join(shape, ", "));
  used_.insert(key);
  return found->second;
}

at::Tensor GivenDraws::normal(const std::string& name, at::IntArrayRef shape, std::int64_t draw) {
  const auto key = key_of(name, draw);
  const auto& given = find(key, shape);
  require(at::isFloatingType(given.scalar_type()), key, "is {}, floating point is needed",
          c10::toString(given.scalar_type()));
  const auto values = given.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  require(values.isfinite().all().item<bool>(), key, "has a value that is not finite");
  return values;
}

at::Tensor GivenDraws::indices(std::string_view name, std::int64_t count, std::int64_t bound,
                               std::int64_t draw) {
  const auto key = key_of(name, draw);
  const auto& given = find(key, {count});
  require(at::isIntegralType(given.scalar_type(), /*includeBool=*/false), key,
          "is {}, whole numbers are needed", c10::toString(given.scalar_type()));
  const auto sorted = std::get<0>(given.to(at::kLong).sort());
  require(sorted.ge(0).logical_and(sorted.lt(bound)).all().item<bool>(), key,
          "has {} to {}, 0 to {} are allowed", sorted[0].item<std::int64_t>(),
          sorted[-1].item<std::int64_t>(), bound - 1);
  require(sorted.diff().ne(0).all().item<bool>(), key, "has a number twice");
  return given.to(at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

void GivenDraws::require_all_used() const {
  for (const auto& [key, tensor] : draws_) {
    require(used_.contains(key), key, "is not drawn in any step");
  }
}

at::Tensor drawn_normal(const ParameterStep& p, const StepScope& scope, at::IntArrayRef shape,
                        std::int64_t draw) {
  const auto values = scope.draws != nullptr
                          ? scope.draws->normal(p.parameter.name, shape, draw)
                          : at::randn(shape, generator(p, scope, draw), at::kFloat);
  return values.to(p.weight.device());
}

at::Tensor drawn_indices(const ParameterStep& p, const StepScope& scope, std::int64_t count,
                         std::int64_t bound, std::int64_t draw) {
  const auto values =
      scope.draws != nullptr
          ? scope.draws->indices(p.parameter.name, count, bound, draw)
          : at::randperm(bound, generator(p, scope, draw), at::kLong).narrow(0, 0, count);
  return values.to(p.weight.device());
}

at::Tensor drawn_order(const StepScope& scope, std::int64_t count, std::int64_t draw) {
  if (scope.draws != nullptr) return scope.draws->indices(kAllParameters, count, count, draw);
  constexpr auto kNoParameter = ~std::uint64_t{0};
  return at::randperm(
      count, make_generator(scope.seed, RandomStream::rule, kNoParameter, std::uint64_t(draw)),
      at::kLong);
}

}  // namespace blockwise
