// The kernels' parallel loops: what their tasks write does not depend on which thread runs them.
// The thread sanitizer (make sanitize-threads) says whether two tasks meet at one place.
#include <thread>
#include <vector>

#include "tests/support/adam_step.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

std::vector<float> draw(std::uint32_t stream, std::int64_t n) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    values.push_back(0.5f + 0.4f * float(formula_value(stream, std::uint32_t(i))));
  }
  return values;
}

// A matrix above the size from which loops take threads, with ragged ends everywhere.
constexpr std::int64_t kRows = 301, kColumns = 255;

struct Problem {
  std::vector<float> w = draw(1, kRows*kColumns), g = draw(2, kRows*kColumns),
                     m = draw(3, kRows*kColumns), v = draw(4, 2 * kRows * kColumns);
  kernels::Workspace space;
  kernels::MatrixView view(std::int64_t rows = kRows) {
    return {w.data(), g.data(), m.data(), rows, kColumns};
  }
};

// Twice, from two threads at once, each on a problem of its own: the same numbers.
template <typename Kernel>
void check_at_once(Kernel kernel) {
  Problem here, there;
  double moved_there = 0.0;
  std::thread other([&] { moved_there = kernel(there); });
  const double moved_here = kernel(here);
  other.join();
  CHECK(moved_here == moved_there);
  CHECK(here.w == there.w);
  CHECK(here.v == there.v);
}

}  // namespace

TEST_CASE("Every structure's step on several threads, twice at once") {
  const auto s = adam_step();
  check_at_once(
      [&](Problem& p) { return kernels::adam_per_element(p.view(), p.v.data(), s, p.space); });
  check_at_once([&](Problem& p) { return kernels::momentum_step(p.view(), s, p.space); });
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, kColumns}, {64, kColumns}, {kRows, 1}, {7, 9}, {1, 1}, {kRows, kColumns}}) {
    INFO("tiles of " << rows << " x " << columns);
    check_at_once([&, rows = rows, columns = columns](Problem& p) {
      return kernels::adam_tiles(p.view(), p.v.data(), {rows, columns}, s, p.space);
    });
  }
  for (const std::int64_t group : {1, 64, 1000}) {
    check_at_once([&](Problem& p) {
      return kernels::adam_factored(p.view(), p.v.data(), group, s, p.space);
    });
  }
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < kRows * kColumns; ++i) labels.push_back(std::int32_t(i % 1000));
  check_at_once([&](Problem& p) {
    return kernels::adam_labels(p.view(), p.v.data(), {labels.data(), 1000}, s, p.space);
  });
}

TEST_CASE("Small tensors side by side, each with a workspace of its own") {
  std::vector<Problem> alone(9), together(9);
  const auto step = [](Problem& p, kernels::Workspace& space) {
    return kernels::adam_tiles(p.view(64), p.v.data(), {64, 1}, adam_step(), space);
  };
  std::vector<double> moved(9), moved_together(9);
  for (std::size_t i = 0; i < 9; ++i) moved[i] = step(alone[i], alone[i].space);
  kernels::side_by_side(9, [&](std::int64_t i, kernels::Workspace& space) {
    moved_together[std::size_t(i)] = step(together[std::size_t(i)], space);
  });
  CHECK(moved == moved_together);
  for (std::size_t i = 0; i < 9; ++i) CHECK(alone[i].w == together[i].w);
}

TEST_CASE("Bands above the cache's size on several threads") {
  const std::int64_t rows = 1100;
  std::vector<float> w = draw(1, rows * kColumns), m = draw(3, rows * kColumns), v = draw(4, 2);
  const auto g = draw(2, rows * kColumns);
  kernels::Workspace space;
  CHECK(kernels::adam_tiles({w.data(), g.data(), m.data(), rows, kColumns}, v.data(),
                            {1090, kColumns}, adam_step(), space) > 0.0);
}

TEST_CASE("Sums and rates per block on several threads, twice at once") {
  const std::vector<double> rates(std::size_t(kRows * kColumns), 0.5);
  const kernels::RateMap map{rates.data(), nullptr, kColumns, 7, 9};
  const auto view = [&](Problem& p) {
    return kernels::MatrixView{p.w.data(), p.g.data(), p.m.data(), kRows, kColumns, &map};
  };
  check_at_once(
      [&](Problem& p) { return kernels::sgd_momentum(view(p), sgd_step(true), p.space); });
  check_at_once([&](Problem& p) { return kernels::lion_step(view(p), adam_step(), p.space); });
  for (const std::int64_t rows : {std::int64_t{1}, kRows}) {
    check_at_once([&](Problem& p) {
      std::vector<double> sums(std::size_t(kRows + kColumns));
      return kernels::tile_squares(p.view(), {rows, kColumns}, sums.data(), p.space) +
             kernels::factor_squares(p.view(), kRows, sums.data(), p.space);
    });
  }
  check_at_once(
      [&](Problem& p) { return kernels::squared_norm(p.g.data(), kRows * kColumns, p.space); });
  check_at_once(
      [&](Problem& p) { return kernels::gradient_descent(view(p), sgd_step(false), p.space); });
}
