// Work that is asked to end does so between two products.
#include "hessian/stoppable_operator.hpp"

#include <ATen/ATen.h>

#include "hessian/dense.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

struct Identity : LinearOperator {
  std::int64_t rows() const override { return 8; }
  std::int64_t columns() const override { return 8; }
  bool symmetric() const override { return true; }
  at::TensorOptions options() const override { return at::kDouble; }
  void apply(const at::Tensor& x, const at::Tensor& y) const override {
    y.copy_(x);
    ++count;
  }
  mutable std::int64_t count = 0;
};

}  // namespace

TEST_CASE("An operator that is stopped begins no further product", "[stop]") {
  const Identity a;
  const StoppableOperator stopped(a, [&] { return a.count == 3; });
  CHECK_THROWS_AS(to_dense(stopped), Stopped);
  CHECK(a.count == 3);
  const StoppableOperator whole(a, never_stop);
  CHECK(to_dense(whole).equal(at::eye(8, at::kDouble)));
}

TEST_CASE("An operator that is watched tells after each product, and never of one not made",
          "[stop]") {
  const Identity a;
  std::int64_t told = 0;
  const StoppableOperator watched(a, WorkWatch{[&] { return a.count == 5; }, [&] { ++told; }});
  CHECK_THROWS_AS(to_dense(watched), Stopped);
  CHECK(told == 5);
  const StoppableOperator unwatched(a, WorkWatch{});
  CHECK(to_dense(unwatched).equal(at::eye(8, at::kDouble)));
}
