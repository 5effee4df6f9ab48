#include "optimizers/matrices/newton_schulz.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/base/error.hpp"

namespace blockwise {
namespace {

const std::vector<std::pair<std::string, PolarSteps>>& all_steps() {
  static const std::vector<std::pair<std::string, PolarSteps>> all = {
      {"jordan", {{{3.4445, -4.7750, 2.0315}}}},
      {"dion",
       {{{4.0848, -6.8946, 2.9270},
         {3.9505, -6.3029, 2.6377},
         {3.7418, -5.5913, 2.3037},
         {2.8769, -3.1427, 1.2046},
         {2.8366, -3.0525, 1.2012}}}},
      {"polar_express",
       {{{8.1566, -22.4833, 15.8788},
         {4.0429, -2.8089, 0.5000},
         {3.8917, -2.7725, 0.5061},
         {3.2858, -2.3681, 0.4645},
         {2.3465, -1.7098, 0.4232}},
        1.02}},
      {"quintic", {{{2.0, -1.5, 0.5}}}}};
  return all;
}

// share x + factor a b, of matrices or of stacks of them.
at::Tensor added_product(const at::Tensor& x, double share, const at::Tensor& a,
                         const at::Tensor& b, double factor) {
  return x.dim() == 2 ? at::addmm(x, a, b, share, factor) : at::baddbmm(x, a, b, share, factor);
}

}  // namespace

const PolarSteps::Coefficients& PolarSteps::at(std::int64_t step) const {
  return steps[std::min(steps.size() - 1, static_cast<std::size_t>(step))];
}

std::vector<std::string> polar_steps_names() {
  std::vector<std::string> names;
  for (const auto& [name, steps] : all_steps()) names.push_back(name);
  return names;
}

const PolarSteps& polar_steps(const std::string& name) {
  for (const auto& [known, steps] : all_steps()) {
    if (known == name) return steps;
  }
  throw InputError(fmt::format("there are no polynomial steps '{}'", name));
}

at::Tensor orthogonalized(const at::Tensor& x, const PolarSteps& steps, std::int64_t count,
                          double eps) {
  const bool tall = x.size(-2) > x.size(-1);
  auto next = tall ? x.mT() : x;
  const std::vector<std::int64_t> sides{-2, -1};
  next = next / (at::linalg_vector_norm(next, 2.0, sides, true) * steps.norm).clamp_min(eps);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [a, b, c] = steps.at(i);
    const auto gram = next.matmul(next.mT());
    const auto polynomial = added_product(gram, b, gram, gram, c);
    next = added_product(next, a, polynomial, next, 1.0);
  }
  return tall ? next.mT() : next;
}

}  // namespace blockwise
