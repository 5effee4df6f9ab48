// Norms of the parts off the diagonal against the dense matrix, and what is asked and told on the
// way.
#include "hessian/coupling_norms.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "core/base/error.hpp"
#include "hessian/dense.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_curvature.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct KeyHeads : SmallCurvature {
  std::vector<HessianPart> parts;

  KeyHeads() {
    parts = select_parts(store.layout(),
                         {.each = PartKind::head, .roles = {ParameterRole::key}, .layers = {0, 1}});
  }

  // ||H_ij||_F^2 of the dense matrix.
  std::vector<double> squared_norms(std::size_t j,
                                    CurvatureKind kind = CurvatureKind::hessian) const {
    const ParameterSubset all(store.layout());
    const auto h = to_dense(CurvatureOperator(*curvature, kind, all));
    std::vector<double> norms;
    for (const auto& part : parts) {
      std::vector<at::Tensor> rows;
      for (std::int64_t k = 0; k < parts[j].size(); ++k) {
        auto packed = parts[j].embed(at::eye(parts[j].size(), at::kDouble)[k]);
        auto whole = at::zeros({all.size()}, at::kDouble);
        auto places = all.views(whole);
        const auto own = parts[j].subset.views(packed);
        for (std::size_t i = 0; i < own.size(); ++i) {
          places[parts[j].subset.parameters()[i]].copy_(own[i]);
        }
        rows.push_back(part.of_tensors(all.views(h.mv(whole))));
      }
      norms.push_back(at::stack(rows).square().sum().item<double>());
    }
    return norms;
  }
};

}  // namespace

TEST_CASE("Coupling norms: unit vectors give the matrix's, exactly") {
  const KeyHeads h;
  REQUIRE(h.parts.size() == 4);
  const auto expected = h.squared_norms(1);
  const auto found = squared_coupling_norms(h.parts, *h.curvature, 1, {2, true, 0}, {});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i].mean == Approx(expected[i]).epsilon(1e-10));  // sums in another order
    CHECK(found[i].standard_error == 0.0);
    CHECK(found[i].interval().low == found[i].mean);
  }
}

TEST_CASE("Coupling norms: of the matrix that is asked for") {
  const KeyHeads h;
  for (const auto kind : {CurvatureKind::gauss_newton, CurvatureKind::fisher}) {
    const auto expected = h.squared_norms(2, kind);
    const auto found = squared_coupling_norms(h.parts, *h.curvature, 2, {2, true, 0, kind}, {});
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(found[i].mean == Approx(expected[i]).epsilon(1e-9));  // sums in another order
    }
  }
}

TEST_CASE("Coupling norms: estimates cover the matrix's, and depend on seed and part only") {
  const KeyHeads h;
  const CouplingPlan plan = {40, false, 7};
  const auto expected = h.squared_norms(2);
  const auto found = squared_coupling_norms(h.parts, *h.curvature, 2, plan, {});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i].count == 40);
    // Five standard errors: what chance leaves out once in 10^6, and the seed is fixed.
    CHECK(std::abs(found[i].mean - expected[i]) < 5.0 * found[i].standard_error);
  }
  const auto again = squared_coupling_norms(h.parts, *h.curvature, 2, plan, {});
  CHECK(again[0].mean == found[0].mean);
  auto other = plan;
  other.seed = 8;
  CHECK(squared_coupling_norms(h.parts, *h.curvature, 2, other, {})[0].mean != found[0].mean);
  CHECK_THROWS_AS(squared_coupling_norms(h.parts, *h.curvature, 0, {1, false, 0}, {}), InputError);
}

TEST_CASE("Coupling norms: a stop ends them before the next product") {
  const KeyHeads h;
  std::int64_t told = 0;
  const WorkWatch watch = {[&] { return told == 3; }, [&] { ++told; }};
  CHECK_THROWS_AS(squared_coupling_norms(h.parts, *h.curvature, 0, {10, false, 0}, watch), Stopped);
  CHECK(told == 3);
}
