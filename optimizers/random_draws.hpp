// Numbers that a rule draws: a pure function of the run's seed, the parameter and the number of the
// draw, so that a resumed run draws the same, and so does every device (they are drawn on the CPU).
// Or numbers that are given, such as those that another program drew.
#pragma once

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "optimizers/parameter_step.hpp"

namespace blockwise {

// In the place of a parameter's name: what is drawn once for all of them.
inline constexpr std::string_view kAllParameters = "*";

// Draws by key, "random/DRAW/NAME": the first draw of a parameter has the number 1.
class GivenDraws {
 public:
  // place: where they come from, for errors.
  GivenDraws(std::string place, std::map<std::string, at::Tensor> draws)
      : place_(std::move(place)), draws_(std::move(draws)) {}

  // What drawn_normal() and drawn_indices() give, as tensors of the caller's own. Throw InputError
  // where the draw is missing or could not have been drawn: another shape, no finite numbers, no
  // different whole numbers below the bound.
  at::Tensor normal(const std::string& name, at::IntArrayRef shape, std::int64_t draw);
  at::Tensor indices(std::string_view name, std::int64_t count, std::int64_t bound,
                     std::int64_t draw);

  // Throws InputError by the first draw that nothing has asked for.
  void require_all_used() const;

 private:
  const at::Tensor& find(const std::string& key, at::IntArrayRef shape);
  template <typename... Args>
  void require(bool condition, const std::string& key, fmt::format_string<Args...> text,
               Args&&... args) const;

  std::string place_;
  std::map<std::string, at::Tensor> draws_;
  std::set<std::string> used_;
};

// Independent of N(0, 1), float32 of this shape on the parameter's device.
at::Tensor drawn_normal(const ParameterStep& parameter, const StepScope& scope,
                        at::IntArrayRef shape, std::int64_t draw);

// `count` different whole numbers below `bound`, int64 on the parameter's device.
at::Tensor drawn_indices(const ParameterStep& parameter, const StepScope& scope, std::int64_t count,
                         std::int64_t bound, std::int64_t draw);

// The numbers below `count` in some order, int64 on the CPU, the same for all parameters.
at::Tensor drawn_order(const StepScope& scope, std::int64_t count, std::int64_t draw);

}  // namespace blockwise
