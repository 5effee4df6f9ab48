// Scalar double twins of the kernels: plain loops over elements, written from the formulas in
// optimizers/kernels/{segment,adam}.hpp and sharing nothing with them but the step's constants.
// Each also says how far float32 arithmetic may stray, from counting its roundings.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "optimizers/kernels/segment.hpp"

namespace blockwise::oracles {

using Values = std::vector<double>;

// Half a unit in the last place of float32, relative: the most that one rounding changes a number.
inline constexpr double kRounding = 0x1p-24;

// A quantity and how far a float32 computation of it may stray.
struct Expected {
  Values value;
  Values tolerance;
};

struct AdamExpected {
  Expected w, m, v;
};

struct Matrix {
  Values w, g, m;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  std::size_t at(std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(i * columns + j);
  }
  double scaled(std::size_t k, const kernels::AdamStep& s) const {
    return double(s.gradient_scale) * g[k];
  }
};

// A shared value's new moment is the mean of positive numbers: summed in float over at most 1024
// terms and then in double, whose rounding errors are independent; 64 roundings is far above their
// root sum of squares and far below any error in the formula.
inline constexpr double kMomentTolerance = 64 * kRounding;

// w and m, given the second moment of every element and its relative tolerance.
inline void step_weights(const Matrix& x, const Values& moment, const kernels::AdamStep& s,
                         double moment_tolerance, AdamExpected& result) {
  for (std::size_t k = 0; k < x.w.size(); ++k) {
    const double fresh = double(s.one_minus_beta1) * x.scaled(k, s);
    const double old = double(s.beta1) * x.m[k];
    const double m = old + fresh;
    const double root = std::sqrt(moment[k]) * double(s.inverse_root_bias);
    const double along = s.nesterov ? double(s.beta1) * m + fresh : m;
    const double update = double(s.step_size) * along / (root + double(s.eps));
    const double decayed = double(s.decay) * x.w[k];
    // g', its product, the sum: three roundings, the sum's relative to the larger term.
    const double m_tolerance = 3 * kRounding * (std::abs(old) + std::abs(fresh));
    const double rate = double(s.step_size) / (root + double(s.eps));
    result.m.value.push_back(m);
    result.m.tolerance.push_back(m_tolerance);
    result.w.value.push_back(decayed - update);
    // Of the look-ahead: a product and the sum more.
    const double along_tolerance =
        m_tolerance + (s.nesterov ? 2 * kRounding * (std::abs(m) + std::abs(fresh)) : 0.0);
    // The root halves the moment's error; root, scale, eps, quotient, product: five roundings.
    result.w.tolerance.push_back(rate * along_tolerance +
                                 std::abs(update) * (moment_tolerance / 2 + 5 * kRounding) +
                                 2 * kRounding * (std::abs(decayed) + std::abs(update)));
  }
}

inline void average(Expected& v, double old, double mean_square, const kernels::AdamStep& s,
                    double tolerance) {
  v.value.push_back(double(s.beta2) * old + double(s.one_minus_beta2) * mean_square);
  v.tolerance.push_back(v.value.back() * tolerance);
}

// AdamW: one value per element. v' has g', its square, the product and the sum: five roundings.
inline AdamExpected adamw(const Matrix& x, const Values& v, const kernels::AdamStep& s) {
  AdamExpected result;
  for (std::size_t k = 0; k < x.w.size(); ++k) {
    average(result.v, v[k], std::pow(x.scaled(k, s), 2), s, 6 * kRounding);
  }
  step_weights(x, result.v.value, s, 6 * kRounding, result);
  return result;
}

// Blocks by number: block(i, j) in [0, v.size()). Tiles and labels are special cases.
inline AdamExpected adam_blocks(
    const Matrix& x, const Values& v, const kernels::AdamStep& s,
    const std::function<std::size_t(std::int64_t, std::int64_t)>& block) {
  Values sums(v.size(), 0.0), counts(v.size(), 0.0), moment(x.w.size());
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < x.columns; ++j) {
      sums[block(i, j)] += std::pow(x.scaled(x.at(i, j), s), 2);
      counts[block(i, j)] += 1.0;
    }
  }
  AdamExpected result;
  for (std::size_t b = 0; b < v.size(); ++b) {
    average(result.v, v[b], sums[b] / counts[b], s, kMomentTolerance);
  }
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t j = 0; j < x.columns; ++j) moment[x.at(i, j)] = result.v.value[block(i, j)];
  }
  step_weights(x, moment, s, kMomentTolerance, result);
  return result;
}

inline AdamExpected adam_tiles(const Matrix& x, const Values& v, const kernels::AdamStep& s,
                               std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t across = (x.columns + tile_columns - 1) / tile_columns;
  return adam_blocks(x, v, s, [=](std::int64_t i, std::int64_t j) {
    return static_cast<std::size_t>(i / tile_rows * across + j / tile_columns);
  });
}

// v: the rows' factors, then the columns' of each group of rows.
inline AdamExpected adam_factored(const Matrix& x, const Values& v, const kernels::AdamStep& s,
                                  std::int64_t group_rows) {
  AdamExpected result;
  const auto mean_square = [&](std::int64_t i0, std::int64_t i1, std::int64_t j0, std::int64_t j1) {
    double sum = 0.0;
    for (std::int64_t i = i0; i < i1; ++i) {
      for (std::int64_t j = j0; j < j1; ++j) sum += std::pow(x.scaled(x.at(i, j), s), 2);
    }
    return sum / double((i1 - i0) * (j1 - j0));
  };
  for (std::int64_t i = 0; i < x.rows; ++i) {
    average(result.v, v[std::size_t(i)], mean_square(i, i + 1, 0, x.columns), s, kMomentTolerance);
  }
  Values moment(x.w.size());
  for (std::int64_t begin = 0; begin < x.rows; begin += group_rows) {
    const std::int64_t end = std::min(x.rows, begin + group_rows);
    double mean_row = 0.0;
    for (std::int64_t i = begin; i < end; ++i) mean_row += result.v.value[std::size_t(i)];
    mean_row /= double(end - begin);
    for (std::int64_t j = 0; j < x.columns; ++j) {
      const double old = v[result.v.value.size()];
      average(result.v, old, mean_square(begin, end, j, j + 1), s, kMomentTolerance);
      for (std::int64_t i = begin; i < end; ++i) {
        const double row = result.v.value[std::size_t(i)];
        moment[x.at(i, j)] = mean_row > 0.0 ? row * result.v.value.back() / mean_row : 0.0;
      }
    }
  }
  step_weights(x, moment, s, 3 * kMomentTolerance, result);  // a product and quotient of three
  return result;
}

// The momentum buffer is in `m`.
inline AdamExpected sgd(const Matrix& x, const kernels::SgdStep& s) {
  AdamExpected result;
  for (std::size_t k = 0; k < x.w.size(); ++k) {
    const double g = double(s.gradient_scale) * x.g[k], mu = s.momentum, lr = s.learning_rate;
    const double buffer = mu * x.m[k] + g;
    const double direction = s.nesterov ? g + mu * buffer : buffer;
    const double size = std::abs(mu * x.m[k]) + std::abs(g);  // of the terms that cancel
    result.m.value.push_back(buffer);
    result.m.tolerance.push_back(3 * kRounding * size);
    result.w.value.push_back(double(s.decay) * x.w[k] - lr * direction);
    result.w.tolerance.push_back(2 * kRounding * std::abs(x.w[k]) + lr * 8 * kRounding * size);
  }
  return result;
}

}  // namespace blockwise::oracles
