// The kernels read and write their buffers and nothing beside them, at sizes around every vector
// width and with tiles that end at an edge or beyond it.
#include <vector>

#include "tests/support/adam_step.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/guarded_buffer.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using Against = GuardedBuffer<float>::Against;

namespace {

const std::vector<std::int64_t> kSizes = {1, 7, 8, 9, 15, 16, 17, 63, 64, 65};

std::int64_t tiles(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

std::vector<float> draw(std::uint32_t stream, std::int64_t n) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    values.push_back(0.5f + 0.4f * float(formula_value(stream, std::uint32_t(i))));
  }
  return values;
}

// The buffers of a call on a matrix, all of them against one page.
struct Guarded {
  std::int64_t rows, columns;
  GuardedBuffer<float> w, g, m, v;
  kernels::Workspace space;

  Guarded(std::int64_t rows_, std::int64_t columns_, std::int64_t values, Against against)
      : rows(rows_),
        columns(columns_),
        w(draw(1, rows * columns), against),
        g(draw(2, rows * columns), against),
        m(draw(3, rows * columns), against),
        v(draw(4, values), against) {}
  kernels::MatrixView view() const { return {w.data(), g.data(), m.data(), rows, columns}; }
};

// Runs the kernel against both pages: the same numbers, and no touch of either.
template <typename Kernel>
void check_bounds(std::int64_t rows, std::int64_t columns, std::int64_t values, Kernel kernel) {
  INFO(rows << " x " << columns << ", " << values << " values");
  Guarded end(rows, columns, values, Against::end), begin(rows, columns, values, Against::begin);
  CHECK(kernel(end) == kernel(begin));
  CHECK(end.w.values() == begin.w.values());
  CHECK(end.v.values() == begin.v.values());
}

template <typename Action>
void for_sizes(Action action) {
  for (const auto rows : kSizes) {
    for (const auto columns : kSizes) action(rows, columns);
  }
}

// Numbers of blocks for every element, as many as there are.
std::vector<std::int32_t> all_labels(std::int64_t n, std::int64_t count) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(std::int32_t(i % count));
  return labels;
}

}  // namespace

TEST_CASE("A step per element stays inside its buffers") {
  for_sizes([](std::int64_t rows, std::int64_t columns) {
    check_bounds(rows, columns, rows * columns, [](Guarded& x) {
      return kernels::adam_per_element(x.view(), x.v.data(), adam_step(), x.space);
    });
    check_bounds(rows, columns, 0, [](Guarded& x) {
      return kernels::momentum_step(x.view(), adam_step(), x.space) +
             kernels::lion_step(x.view(), adam_step(), x.space);
    });
  });
}

TEST_CASE("A step per tile stays inside its buffers, at the edges too") {
  for_sizes([](std::int64_t rows, std::int64_t columns) {
    for (const auto& [tile_rows, tile_columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {1, 65}, {65, 1}, {2, 3}, {8, 8}, {7, 9}, {64, 64}, {1000, 1000}}) {
      check_bounds(rows, columns, tiles(rows, tile_rows) * tiles(columns, tile_columns),
                   [&](Guarded& x) {
                     return kernels::adam_tiles(x.view(), x.v.data(), {tile_rows, tile_columns},
                                                adam_step(), x.space);
                   });
    }
  });
  // Bands above the cache's size: two sweeps, the last band ragged.
  check_bounds(700, 401, 2, [](Guarded& x) {
    return kernels::adam_tiles(x.view(), x.v.data(), {699, 401}, adam_step(), x.space);
  });
}

TEST_CASE("Factored and labelled moments stay inside their buffers") {
  for_sizes([](std::int64_t rows, std::int64_t columns) {
    for (const std::int64_t group : {1, 3, 8, 64, 1000}) {
      check_bounds(rows, columns, rows + tiles(rows, group) * columns, [&](Guarded& x) {
        return kernels::adam_factored(x.view(), x.v.data(), group, adam_step(), x.space);
      });
    }
    const auto count = std::min<std::int64_t>(7, rows * columns);
    check_bounds(rows, columns, count, [&](Guarded& x) {
      const GuardedBuffer<std::int32_t> labels(all_labels(rows * columns, count),
                                               GuardedBuffer<std::int32_t>::Against::end);
      return kernels::adam_labels(x.view(), x.v.data(), {labels.data(), count}, adam_step(),
                                  x.space);
    });
  });
}

TEST_CASE("Sums of squares before a step stay inside their buffers") {
  for_sizes([](std::int64_t rows, std::int64_t columns) {
    const auto check = [&](std::int64_t values, auto find) {
      check_bounds(rows, columns, 0, [&](Guarded& x) {
        const GuardedBuffer<double> sums(std::vector<double>(std::size_t(values), 0.0),
                                         GuardedBuffer<double>::Against::end);
        return find(x, sums.data());
      });
    };
    for (const auto& [tile_rows, tile_columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 65}, {65, 1}, {2, 3}, {7, 9}, {1000, 1000}}) {
      const kernels::TileShape tile{tile_rows, tile_columns};
      check(tiles(rows, tile_rows) * tiles(columns, tile_columns), [&](Guarded& x, double* sums) {
        return kernels::tile_squares(x.view(), tile, sums, x.space);
      });
    }
    check(rows + tiles(rows, 8) * columns, [&](Guarded& x, double* sums) {
      return kernels::factor_squares(x.view(), 8, sums, x.space);
    });
  });
}

TEST_CASE("SGD and the norm stay inside their buffers") {
  for (const auto n : kSizes) {
    check_bounds(n, 1, 0, [&](Guarded& x) {
      const auto step = sgd_step(true);
      return kernels::sgd_momentum(x.view(), step, x.space) +
             kernels::gradient_descent(x.view(), step, x.space) +
             kernels::squared_norm(x.g.data(), n, x.space);
    });
  }
}

TEST_CASE("Rates per block stay inside their buffers") {
  for_sizes([](std::int64_t rows, std::int64_t columns) {
    const auto descend = [](Guarded& x, const kernels::RateMap& map) {
      auto view = x.view();
      view.rates = &map;
      return kernels::gradient_descent(view, sgd_step(false), x.space);
    };
    for (const std::int64_t size : {1, 3, 8, 65, 1000}) {
      const GuardedBuffer<double> rates(
          std::vector<double>(std::size_t(tiles(rows, size) * tiles(columns, size)), 0.5),
          GuardedBuffer<double>::Against::end);
      check_bounds(rows, columns, 0, [&](Guarded& x) {
        return descend(x, {rates.data(), nullptr, columns, size, std::min(size, columns)});
      });
    }
    const GuardedBuffer<std::int32_t> labels(all_labels(rows * columns, 1),
                                             GuardedBuffer<std::int32_t>::Against::end);
    const GuardedBuffer<double> rate({0.5}, GuardedBuffer<double>::Against::end);
    check_bounds(rows, columns, 0, [&](Guarded& x) {
      return descend(x, {rate.data(), labels.data(), columns, 1, 1});
    });
  });
}
