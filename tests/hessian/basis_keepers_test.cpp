// Krylov bases that three processes keep, against one process.
#include <ATen/ATen.h>

#include <functional>

#include "core/base/linear_operator.hpp"
#include "hessian/basis_keepers.hpp"
#include "hessian/lanczos.hpp"
#include "hessian/thick_restart.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/rank_processes.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// Of three ranks rank 0 does `work` with keepers, the others serve it to its end.
void with_keepers(const std::function<void(const BasisKeepers&)>& work) {
  const auto results = on_ranks(3, [&](const Ranks& ranks, const auto&) {
    if (ranks.is_first()) {
      const BasisKeepers keepers(ranks, [&] { ranks.number_of_first(1); });
      work(keepers);
      ranks.number_of_first(0);
      return;
    }
    BasisService service;
    while (ranks.number_of_first(0) == 1) service.serve(ranks);
  });
  for (const auto& result : results) {
    INFO(result.text);
    CHECK(result.exit_code == 0);
  }
}

at::Tensor vector(std::uint64_t seed, std::int64_t size, at::ScalarType dtype) {
  return formula_values(seed, size).to(dtype);
}

bool near(const std::vector<double>& a, const std::vector<double>& b, double error) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= error)) return false;
  }
  return true;
}

// To rounding: the ends of shares are added up by other instructions.
bool near(const at::Tensor& a, const at::Tensor& b) {
  const double rounding = a.scalar_type() == at::kFloat ? 1e-6 : 1e-14;
  return (a - b).abs().max().item<double>() <= rounding * (1.0 + a.abs().max().item<double>());
}

struct Bases {
  KrylovBasis whole, spread;

  void append(const at::Tensor& v, double scale) {
    whole.append(v, scale);
    spread.append(v, scale);
  }
  void check_vectors() const {
    require(whole.count() == spread.count(), "count");
    for (std::int64_t i = 0; i < whole.count(); ++i) {
      require(at::equal(whole.vector(i), spread.vector(i)), "a vector is another one");
    }
  }
};

}  // namespace

TEST_CASE("parallel: a basis of three processes is that of one", "[parallel]") {
  // Two elements: one of three ranks has none. 9000: more than a chunk of a kernel on each.
  for (const std::int64_t size : {2, 10, 9000}) {
    for (const auto dtype : {at::kFloat, at::kDouble}) {
      with_keepers([&](const BasisKeepers& keepers) {
        Bases bases{{size, 6, dtype}, {size, 6, dtype, &keepers}};
        for (int i = 0; i < 5; ++i) bases.append(vector(10 + i, size, dtype), 0.5 + i);
        bases.check_vectors();
        auto w = vector(3, size, dtype), same = w.clone();
        const auto c = bases.whole.coefficients(w);
        // Sums of up to 9000 products of numbers up to some 5: in another order.
        require(near(bases.spread.coefficients(w), c, dtype == at::kFloat ? 1e-2 : 1e-10),
                "coefficients");
        bases.whole.subtract(c, w);
        bases.spread.subtract(c, same);
        require(near(w, same), "what is left");
        require(near(bases.whole.combine(c), bases.spread.combine(c)), "a combination");
        // Two vectors out of five, exact in float32: sums and differences.
        const std::vector<double> turn = {1, 1, 0, 0, 0, 0, 0, -1, 2, 0};
        bases.whole.rotate(turn.data(), 2);
        bases.spread.rotate(turn.data(), 2);
        bases.check_vectors();
        bases.append(w, 1.0);
        bases.check_vectors();
        bases.whole.truncate(1);
        bases.spread.truncate(1);
        bases.check_vectors();
      });
    }
  }
}

TEST_CASE("parallel: Lanczos processes whose basis is spread find the same", "[parallel]") {
  with_keepers([](const BasisKeepers& keepers) {
    const std::int64_t size = 200;
    const auto values = at::linspace(-1.0, 3.0, size, at::kDouble);
    const FunctionOperator a(size, at::kDouble, [&](const at::Tensor& x) { return values * x; });
    const auto start = vector(1, size, at::kDouble);
    for (const auto kind :
         {Reorthogonalisation::full, Reorthogonalisation::selective, Reorthogonalisation::none}) {
      LanczosOptions options;
      options.steps = 40;
      options.reorthogonalisation = kind;
      Lanczos alone(a, start, options);
      options.keepers = &keepers;
      // Two at a time: each has its own.
      Lanczos spread(a, start, options), other(a, values, options);
      alone.run();
      spread.run([&](std::int64_t steps) { return steps < 20; });
      other.run();
      spread.run();
      const auto expected = ritz_values(alone.tridiagonal());
      const auto found = ritz_values(spread.tridiagonal());
      require(near(found.values, expected.values, 1e-8), "Ritz values");
      const auto pairs = spread.pairs(1, SpectrumEnd::both, Lanczos::Residuals::computed);
      if (kind == Reorthogonalisation::none) continue;
      require(std::abs(pairs[0].vector.norm().item<double>() - 1.0) < 1e-12, "unit vectors");
      require(pairs[0].residual < 0.05, "a residual");
    }
    EigenpairOptions wanted;
    wanted.pairs = 2;
    wanted.most_products = 400;
    wanted.keepers = &keepers;
    ThickRestart restarted(a, start, wanted);
    require(restarted.run({}), "ended");
    const auto pairs = restarted.result().pairs;
    require(std::abs(pairs[0].value - 3.0) < 1e-9 && std::abs(pairs[1].value + 1.0) < 1e-9,
            "eigenvalues of both ends");
  });
}
