#include "tests/optimizers/behaviour/problem.hpp"

#include <cmath>

#include "tests/optimizers/behaviour/landscapes.hpp"
#include "tests/support/formula_values.hpp"

namespace blockwise::testing {
namespace {

constexpr int kRows = Landscape::kRows, kColumns = Landscape::kColumns, kSize = Landscape::kSize;

// From 1 down to 1e-3 in equal factors.
double scale(int place, int places) { return std::pow(1e-3, double(place) / double(places - 1)); }

template <typename Place>
std::vector<double> scales(int places, Place place) {
  std::vector<double> values(kSize);
  for (int i = 0; i < kSize; ++i) values[std::size_t(i)] = scale(place(i), places);
  return values;
}

double norm(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

// Row r is seen at every (2^r)-th step: words of a vocabulary.
void sparse(std::vector<double>& gradient, int step) {
  for (int i = 0; i < kSize; ++i) {
    if (step % (1 << (i / kColumns)) != 0) gradient[std::size_t(i)] = 0.0;
  }
}

// Uniform, of standard deviation 1: at the start more than the gradient.
void noisy(std::vector<double>& gradient, int step) {
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] += std::sqrt(3.0) * formula_value(std::uint32_t(1000 + step), std::uint32_t(i));
  }
}

void with_outliers(std::vector<double>& gradient, int step) {
  if (step % 10 != 0) return;
  for (auto& value : gradient) value *= 1000.0;
}

std::vector<Problem> make_problems() {
  const auto bowl = quadratic(std::vector<double>(kSize, 1.0));
  const auto unchanged = [](std::vector<double>&, int) {};
  return {
      {"bowl", "a quadratic whose curvature is 1 everywhere", bowl, 80, 0.1},
      {"scaled_rows", "curvatures from 1 to 0.001, by row",
       quadratic(scales(kRows, [](int i) { return i / kColumns; })), 80, 0.2},
      {"scaled_columns", "curvatures from 1 to 0.001, by column",
       quadratic(scales(kColumns, [](int i) { return i % kColumns; })), 80, 0.2},
      {"scaled_elements", "curvatures from 1 to 0.001, by element, in no order",
       quadratic(scales(kSize, [](int i) { return i * 29 % kSize; })), 80, 0.2},
      {"turned", "curvatures from 1 to 0.01 along axes that are not the columns",
       turned_quadratic({1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.02, 0.01}), 100, 0.2},
      {"saddle", "from 0.00001 beside a saddle", saddle(), 80, 0.1},
      {"plateau", "gradients of 0.0001 to 0.3 that grow on the way", plateau(), 100, 0.1},
      {"valley", "Rosenbrock's curved valley", valley(), 150, 0.2},
      {"sparse", "bowl; row r has a gradient at every (2^r)-th step, otherwise 0", bowl, 100, 0.2,
       sparse},
      {"noise", "bowl; noise of standard deviation 1 on every gradient", bowl, 150, 0.25, noisy},
      {"delay", "bowl; gradients of the weights six steps ago", bowl, 100, 0.1, unchanged, 6},
      {"outliers", "bowl; every tenth gradient is 1000 times as long", bowl, 100, 0.1,
       with_outliers},
  };
}

}  // namespace

double Landscape::distance(const Point& w) const {
  const auto first = start();
  return norm(w, solution(w)) / norm(first, solution(first));
}

const std::vector<Problem>& problems() {
  static const auto all = make_problems();
  return all;
}

}  // namespace blockwise::testing
