// The fused kernels against scalar double twins, over shapes around every vector width and above
// the sizes where bands are split; and their independence of the number of threads.
#include <ATen/Parallel.h>

#include "tests/oracles/adam_oracle.hpp"
#include "tests/support/adam_step.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using oracles::Expected;
using oracles::Values;

namespace {

Values wide(const Floats& x) { return {x.begin(), x.end()}; }

// The buffers of one call, kept as they were and as the kernel left them.
struct Problem {
  std::int64_t rows, columns;
  Floats w, g, m, v;
  Floats old_w;
  kernels::Workspace space;

  // Gradients of size 1e-2 beside weights of size 1, a moment of the gradients' square.
  Problem(std::int64_t rows_, std::int64_t columns_, std::int64_t values)
      : rows(rows_),
        columns(columns_),
        w(formula_floats(1, rows * columns, 1.0)),
        g(formula_floats(2, rows * columns, 1e-2)),
        m(formula_floats(3, rows * columns, 1e-2)),
        v(formula_floats(4, values, 4e-5, 5e-5)),
        old_w(w) {}

  kernels::MatrixView view() { return {w.data(), g.data(), m.data(), rows, columns}; }
  oracles::Matrix matrix() const { return {wide(w), wide(g), wide(m), rows, columns}; }

  // What a kernel should return, from the weights that it wrote.
  double moved() const {
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += std::pow(double(w[i]) - double(old_w[i]), 2);
    return sum;
  }
};

// The largest error in units of the tolerance.
double worst(const Floats& actual, const Expected& expected) {
  REQUIRE(actual.size() == expected.value.size());
  double result = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(double(actual[i]) - expected.value[i]);
    if (!(error <= expected.tolerance[i])) result = std::max(result, error / expected.tolerance[i]);
  }
  return result;
}

void check(const Problem& p, const oracles::AdamExpected& expected, double moved) {
  CHECK(worst(p.m, expected.m) <= 1.0);
  if (!expected.v.value.empty()) CHECK(worst(p.v, expected.v) <= 1.0);
  CHECK(worst(p.w, expected.w) <= 1.0);
  // Differences of floats are exact here; their squares are summed as a shared moment is.
  CHECK(std::abs(moved - p.moved()) <= oracles::kMomentTolerance * p.moved());
}

void check_elements(std::int64_t rows, std::int64_t columns) {
  for (const bool nesterov : {false, true}) {
    Problem p(rows, columns, rows * columns);
    auto step = adam_step();
    step.nesterov = nesterov;
    const auto expected = oracles::adamw(p.matrix(), wide(p.v), step);
    check(p, expected, kernels::adam_per_element(p.view(), p.v.data(), step, p.space));
  }
}

void check_tiles(std::int64_t rows, std::int64_t columns, std::int64_t tile_rows,
                 std::int64_t tile_columns) {
  INFO("tiles of " << tile_rows << " x " << tile_columns);
  const auto tiles = [](std::int64_t n, std::int64_t k) { return (n + k - 1) / k; };
  Problem p(rows, columns, tiles(rows, tile_rows) * tiles(columns, tile_columns));
  const auto expected =
      oracles::adam_tiles(p.matrix(), wide(p.v), adam_step(), tile_rows, tile_columns);
  check(p, expected,
        kernels::adam_tiles(p.view(), p.v.data(), {tile_rows, tile_columns}, adam_step(), p.space));
}

void check_factored(std::int64_t rows, std::int64_t columns, std::int64_t group) {
  INFO("groups of " << group << " rows");
  Problem p(rows, columns, rows + (rows + group - 1) / group * columns);
  const auto expected = oracles::adam_factored(p.matrix(), wide(p.v), adam_step(), group);
  check(p, expected, kernels::adam_factored(p.view(), p.v.data(), group, adam_step(), p.space));
}

void check_labels(std::int64_t rows, std::int64_t columns, std::int64_t count) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const double draw = (formula_value(5, std::uint32_t(i)) + 1.0) / 2.0;
    labels.push_back(i < count ? std::int32_t(i) : std::int32_t(draw * double(count)));
  }
  Problem p(rows, columns, count);
  const auto expected =
      oracles::adam_blocks(p.matrix(), wide(p.v), adam_step(), [&](std::int64_t i, std::int64_t j) {
        return std::size_t(labels[std::size_t(i * columns + j)]);
      });
  check(p, expected,
        kernels::adam_labels(p.view(), p.v.data(), {labels.data(), count}, adam_step(), p.space));
}

void check_sgd(std::int64_t n, bool nesterov) {
  Problem p(n, 1, 0);
  const auto step = sgd_step(nesterov);
  const auto expected = oracles::sgd(p.matrix(), step);
  check(p, expected, kernels::sgd_momentum(p.view(), step, p.space));
}

template <typename Action>
void for_small_shapes(Action action) {
  // Around the widths 4, 8 and 16 of the instruction sets, once and twice.
  for (const std::int64_t rows : {1, 2, 3, 5, 8, 17, 33}) {
    for (const std::int64_t columns : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33}) {
      INFO(rows << " x " << columns);
      action(rows, columns);
    }
  }
}

}  // namespace

TEST_CASE("AdamW's and NAdamW's kernel is its formula") {
  for_small_shapes(check_elements);
  check_elements(1, 3 * 1024 + 5);  // several folds of the sum
  check_elements(301, 401);         // several tasks
}

TEST_CASE("Tiles of every form share one moment") {
  for_small_shapes([](std::int64_t rows, std::int64_t columns) {
    check_tiles(rows, columns, 1, columns);
    check_tiles(rows, columns, rows, 1);
    check_tiles(rows, columns, rows, columns);
    check_tiles(rows, columns, rows + 5, columns + 5);
    check_tiles(rows, columns, 1, 1);
    check_tiles(rows, columns, 2, columns);
    check_tiles(rows, columns, 3, 1);  // head x column
    check_tiles(rows, columns, 2, 3);
    check_tiles(rows, columns, 5, 4);
  });
}

TEST_CASE("Tiles of large bands are reduced in one sweep and updated in another") {
  // More than 2^18 elements in a band, the last band ragged.
  check_tiles(700, 700, 700, 700);
  check_tiles(1000, 500, 600, 500);
  check_tiles(1000, 500, 600, 1);
  check_tiles(1000, 500, 600, 7);
  check_tiles(300000, 1, 300000, 1);
  check_tiles(300000, 1, 290000, 3);
  check_tiles(3, 300001, 1, 300001);
  check_tiles(1, 300001, 1, 1);
}

TEST_CASE("Factored moments: whole, per head, ragged") {
  for_small_shapes([](std::int64_t rows, std::int64_t columns) {
    check_factored(rows, columns, rows);
    check_factored(rows, columns, rows + 3);
    check_factored(rows, columns, 1);
    check_factored(rows, columns, 2);
    check_factored(rows, columns, 5);
  });
  check_factored(700, 700, 700);
  check_factored(1000, 300, 600);
}

TEST_CASE("Explicit labels") {
  for_small_shapes([](std::int64_t rows, std::int64_t columns) {
    check_labels(rows, columns, 1);
    check_labels(rows, columns, std::min<std::int64_t>(7, rows * columns));
    check_labels(rows, columns, rows * columns);
  });
  check_labels(300, 300, 1000);
}

TEST_CASE("SGD with heavy-ball and Nesterov momentum") {
  for (std::int64_t n = 1; n <= 33; ++n) {
    check_sgd(n, false);
    check_sgd(n, true);
  }
  check_sgd(100001, true);
}

TEST_CASE("The norm is a sum of squares") {
  for (const std::int64_t n : {1, 2, 15, 16, 17, 33, 1025, 100003}) {
    const auto g = formula_floats(6, n, 3.0);
    double expected = 0.0;
    for (const auto x : g) expected += double(x) * double(x);
    kernels::Workspace space;
    CHECK(std::abs(kernels::squared_norm(g.data(), n, space) - expected) <=
          oracles::kMomentTolerance * expected);
  }
  kernels::Workspace space;
  CHECK(kernels::squared_norm(nullptr, 0, space) == 0.0);
}

TEST_CASE("An all-zero gradient and moment gives no update, not 0 / 0") {
  const std::int64_t n = 6;
  const auto run = [&](auto kernel, std::int64_t values) {
    Problem p(n, n, values);
    p.g.assign(p.g.size(), 0.0f);
    p.m.assign(p.m.size(), 0.0f);
    p.v.assign(p.v.size(), 0.0f);
    auto step = adam_step();
    step.decay = 1.0f;
    CHECK(kernel(p, step) == 0.0);
    CHECK(p.w == p.old_w);
  };
  run([](Problem& p,
         const auto& s) { return kernels::adam_per_element(p.view(), p.v.data(), s, p.space); },
      n * n);
  run(
      [](Problem& p, const auto& s) {
        return kernels::adam_tiles(p.view(), p.v.data(), {2, 6}, s, p.space);
      },
      3);
  run([](Problem& p,
         const auto& s) { return kernels::adam_factored(p.view(), p.v.data(), 3, s, p.space); },
      n + 2 * n);
}

TEST_CASE("Results do not depend on the number of threads") {
  const auto with_threads = [](int threads, auto run) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    Problem p(900, 401, 900 * 401);
    const double moved = run(p);
    at::set_num_threads(before);
    return std::make_tuple(moved, p.w, p.m, p.v);
  };
  const auto same = [&](const char* name, auto run) {
    INFO(name);
    const auto one = with_threads(1, run);
    CHECK(one == with_threads(2, run));
    CHECK(one == with_threads(3, run));
  };
  const auto s = adam_step();
  same("elements",
       [&](Problem& p) { return kernels::adam_per_element(p.view(), p.v.data(), s, p.space); });
  same("rows", [&](Problem& p) {
    return kernels::adam_tiles(p.view(), p.v.data(), {1, 401}, s, p.space);
  });
  same("heads", [&](Problem& p) {
    return kernels::adam_tiles(p.view(), p.v.data(), {64, 401}, s, p.space);
  });
  same("columns", [&](Problem& p) {
    return kernels::adam_tiles(p.view(), p.v.data(), {900, 1}, s, p.space);
  });
  same("whole", [&](Problem& p) {
    return kernels::adam_tiles(p.view(), p.v.data(), {900, 401}, s, p.space);
  });
  same("factored",
       [&](Problem& p) { return kernels::adam_factored(p.view(), p.v.data(), 64, s, p.space); });
  same("lion", [&](Problem& p) { return kernels::lion_step(p.view(), s, p.space); });
  const auto squares = [](Problem& p, auto find) {
    std::vector<double> sums(900 + 401 * 900);
    const double total = find(p, sums.data());
    for (std::size_t i = 0; i < p.v.size(); ++i) p.v[i] = float(sums[i]);
    return total;
  };
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 401}, {64, 401}, {900, 1}, {900, 401}}) {
    same("squares of tiles", [&, rows = rows, columns = columns](Problem& p) {
      return squares(p, [&](Problem& q, double* sums) {
        return kernels::tile_squares(q.view(), {rows, columns}, sums, q.space);
      });
    });
  }
  same("squares of factors", [&](Problem& p) {
    return squares(p, [](Problem& q, double* sums) {
      return kernels::factor_squares(q.view(), 64, sums, q.space);
    });
  });
  same("norm", [&](Problem& p) { return kernels::squared_norm(p.g.data(), 900 * 401, p.space); });
}
