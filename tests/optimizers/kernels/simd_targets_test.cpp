// Kernels on every instruction set that this machine and this build have, not the widest alone, at
// odd sizes and addresses: Lion against its formula, bit for bit, and sums of squares that are
// found before the step against plain loops.
#include <hwy/targets.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "tests/oracles/adam_oracle.hpp"
#include "tests/support/adam_step.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

void choose(std::int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Of the instruction set in use: whether x^2 - round(x^2) is found to be the product's rounding.
bool has_fused_multiply_add() {
  const float x = 1.0f + 0x1p-12f;
  kernels::AdamStep step;
  step.beta2 = x;
  step.one_minus_beta2 = -(x * x);
  return kernels::second_moment(x, 1.0f, step) != 0.0f;
}

// Calls action(whether the instruction set has fused multiply-adds).
template <typename Action>
void on_every_target(Action action) {
  const auto targets = hwy::SupportedAndGeneratedTargets();
  REQUIRE(!targets.empty());
  for (const auto target : targets) {
    choose(target);
    CHECK(std::string(kernels::simd_target()) == hwy::TargetName(target));
    INFO(hwy::TargetName(target));
    action(has_fused_multiply_add());
  }
  choose(0);
}

struct Buffers {
  std::int64_t n;
  std::size_t shift;  // of all addresses, in elements
  Floats w, g, m;
  kernels::Workspace space;

  Buffers(std::int64_t n_, std::size_t shift_)
      : n(n_),
        shift(shift_),
        w(formula_floats(1, n + std::int64_t(shift), 1.0)),
        g(formula_floats(2, n + std::int64_t(shift), 1e-2)),
        m(formula_floats(3, n + std::int64_t(shift), 1e-2)) {
    // Averages of exactly 0, which have no sign.
    for (std::size_t i = shift; i < g.size(); i += 5) g[i] = m[i] = 0.0f;
  }
  kernels::MatrixView view(std::int64_t rows, std::int64_t columns) {
    return {w.data() + shift, g.data() + shift, m.data() + shift, rows, columns};
  }
};

struct LionFormula {
  const kernels::AdamStep& s;
  bool fuses;

  float multiply_add(float a, float b, float c) const {
    const volatile float product = a * b;
    return fuses ? std::fma(a, b, c) : product + c;
  }
  // Steps m; returns the new weight.
  float step(float w, float g, float& m, const double* rate) const {
    const float x = g * s.gradient_scale;
    const float average = multiply_add(s.one_minus_beta1, x, s.beta1 * m);
    m = multiply_add(s.one_minus_beta2, x, s.beta2 * m);
    const float sign = average > 0.0f ? 1.0f : average < 0.0f ? -1.0f : 0.0f;
    const auto factor = rate == nullptr ? 1.0f : static_cast<float>(*rate);
    const float decay = rate == nullptr ? s.decay : multiply_add(-factor, s.shrink, 1.0f);
    return decay * w - factor * s.step_size * sign;  // the second product is exact
  }
};

void check_lion(std::int64_t n, std::size_t shift, bool fuses, const double* rate) {
  INFO(n << " elements from " << shift << " on, rates " << (rate != nullptr));
  Buffers x(n, shift), expected(n, shift);
  const auto step = adam_step();
  const LionFormula formula{step, fuses};
  double moved = 0.0;
  for (std::size_t i = shift; i < x.w.size(); ++i) {
    auto& w = expected.w[i];
    w = formula.step(w, x.g[i], expected.m[i], rate);
    moved += std::pow(double(w) - double(x.w[i]), 2);
  }
  const kernels::RateMap map{rate, nullptr, 1, n, 1};
  auto view = x.view(n, 1);
  if (rate != nullptr) view.rates = &map;
  CHECK(std::abs(kernels::lion_step(view, step, x.space) - moved) <=
        oracles::kMomentTolerance * moved);
  CHECK(x.w == expected.w);
  CHECK(x.m == expected.m);
}

std::int64_t tiles(std::int64_t n, std::int64_t tile) { return (n + tile - 1) / tile; }

struct Shape {
  std::int64_t rows, columns, tile_rows, tile_columns;
};

bool are_near(const std::vector<double>& sums, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (!(std::abs(sums[i] - expected[i]) <= oracles::kMomentTolerance * expected[i])) return false;
  }
  return sums.size() == expected.size();
}

// w and m after a step, and v.
template <typename Step>
std::tuple<double, Floats, Floats, Floats> stepped(const Buffers& before, Floats v, Step step) {
  auto x = before;
  const double moved = step(x, v.data());
  return {moved, x.w, x.m, v};
}

// Sums against plain loops, and the step with them, which is that without them, bit for bit.
template <typename Squares, typename Step>
void check_squares(Buffers& x, const std::vector<double>& expected, Squares squares, Step step) {
  std::vector<double> sums(expected.size(), -1.0);
  const double total = squares(x, sums.data());
  CHECK(are_near(sums, expected));
  double squared_norm = 0.0;
  for (std::size_t i = x.shift; i < x.g.size(); ++i) squared_norm += std::pow(double(x.g[i]), 2);
  CHECK(std::abs(total - squared_norm) <= oracles::kMomentTolerance * squared_norm);
  const auto v = formula_floats(4, std::int64_t(expected.size()), 4e-5, 5e-5);
  const auto with = [&](const double* given) {
    return stepped(x, v, [&](Buffers& y, float* values) { return step(y, values, given); });
  };
  CHECK(with(sums.data()) == with(nullptr));
}

void check_tiles(const Shape& s, std::size_t shift) {
  INFO(s.rows << " x " << s.columns << ", tiles " << s.tile_rows << " x " << s.tile_columns);
  Buffers x(s.rows * s.columns, shift);
  const auto across = tiles(s.columns, s.tile_columns);
  std::vector<double> expected(std::size_t(tiles(s.rows, s.tile_rows) * across), 0.0);
  for (std::int64_t i = 0; i < x.n; ++i) {
    const auto tile = i / s.columns / s.tile_rows * across + i % s.columns / s.tile_columns;
    expected[std::size_t(tile)] += std::pow(double(x.g[std::size_t(i) + shift]), 2);
  }
  const kernels::TileShape tile{s.tile_rows, s.tile_columns};
  check_squares(
      x, expected,
      [&](Buffers& y, double* sums) {
        return kernels::tile_squares(y.view(s.rows, s.columns), tile, sums, y.space);
      },
      [&](Buffers& y, float* v, const double* squares) {
        auto view = y.view(s.rows, s.columns);
        view.squares = squares;
        return kernels::adam_tiles(view, v, tile, adam_step(), y.space);
      });
}

void check_factors(const Shape& s, std::size_t shift) {
  INFO(s.rows << " x " << s.columns << ", groups of " << s.tile_rows);
  Buffers x(s.rows * s.columns, shift);
  std::vector<double> expected(std::size_t(s.rows + tiles(s.rows, s.tile_rows) * s.columns), 0.0);
  for (std::int64_t i = 0; i < x.n; ++i) {
    const auto row = i / s.columns, column = i % s.columns;
    const double square = std::pow(double(x.g[std::size_t(i) + shift]), 2);
    expected[std::size_t(row)] += square;
    expected[std::size_t(s.rows + row / s.tile_rows * s.columns + column)] += square;
  }
  check_squares(
      x, expected,
      [&](Buffers& y, double* sums) {
        return kernels::factor_squares(y.view(s.rows, s.columns), s.tile_rows, sums, y.space);
      },
      [&](Buffers& y, float* v, const double* squares) {
        auto view = y.view(s.rows, s.columns);
        view.squares = squares;
        return kernels::adam_factored(view, v, s.tile_rows, adam_step(), y.space);
      });
}

}  // namespace

TEST_CASE("Lion's kernel is its formula on every instruction set, bit for bit") {
  const double rate = 0.37;
  on_every_target([&](bool fuses) {
    for (const std::size_t shift : {0, 1, 3}) {
      for (std::int64_t n = 1; n <= 67; ++n) check_lion(n, shift, fuses, nullptr);
      for (const std::int64_t n : {5, 33, 2049}) check_lion(n, shift, fuses, &rate);
      check_lion(3 * 1024 + 5, shift, fuses, nullptr);
    }
    check_lion(100'003, 1, fuses, nullptr);  // several tasks
  });
}

TEST_CASE("Lion has no step where a gradient and its average are 0, or no number") {
  on_every_target([](bool) {
    Buffers x(33, 0);
    for (std::size_t i = 0; i < 33; ++i) x.g[i] = x.m[i] = 0.0f;
    x.m[7] = std::numeric_limits<float>::quiet_NaN();
    auto step = adam_step();
    step.decay = 1.0f;
    const auto before = x.w;
    CHECK(kernels::lion_step(x.view(33, 1), step, x.space) == 0.0);
    CHECK(x.w == before);
  });
}

TEST_CASE("Sums of squares found before a step are those of the step, on every instruction set") {
  on_every_target([](bool) {
    for (const std::int64_t rows : {1, 5, 33}) {
      for (const std::int64_t columns : {1, 3, 16, 17, 67, 131}) {
        for (const auto& [tile_rows, tile_columns] :
             std::vector<std::pair<std::int64_t, std::int64_t>>{
                 {1, columns}, {rows, 1}, {rows, columns}, {2, columns}, {3, 1}, {2, 3}}) {
          check_tiles({rows, columns, tile_rows, tile_columns}, std::size_t(rows % 4));
        }
        for (const std::int64_t group : {std::int64_t{1}, std::int64_t{4}, rows}) {
          check_factors({rows, columns, group, 1}, std::size_t(rows % 4));
        }
      }
    }
  });
}

TEST_CASE("Sums of squares of large tensors: bands in the cache, few bands, large bands") {
  for (const auto& s : std::vector<Shape>{{640, 65, 64, 65},
                                          {640, 65, 320, 65},
                                          {640, 65, 640, 1},
                                          {700, 401, 699, 401},
                                          {700, 401, 700, 1},
                                          {90'001, 1, 90'001, 1}}) {
    check_tiles(s, 1);
  }
  check_factors({700, 401, 700, 1}, 1);
  check_factors({700, 401, 64, 1}, 1);
}
