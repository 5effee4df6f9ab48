// Vectors of one purpose are those of no other one, under any of some seeds.
#include "hessian/probe_vectors.hpp"

#include <ATen/ATen.h>

#include <set>

#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

constexpr ProbeStream kStreams[] = {ProbeStream::lanczos,   ProbeStream::trace,
                                    ProbeStream::diagonal,  ProbeStream::diagonal_share,
                                    ProbeStream::couplings, ProbeStream::energies};
constexpr std::uint64_t kSeeds = 50;

}  // namespace

TEST_CASE("Probes: one seed's diagonal vectors are no other seed's trace vectors") {
  const auto first_of = [](ProbeStream stream, std::uint64_t seed) {
    return signs(64, probe_seed(seed, stream), 0);
  };
  // As it was: the diagonal of seed s had the trace vectors of seed s + 2.
  for (std::uint64_t s = 0; s < kSeeds; ++s) {
    const auto of_diagonal = first_of(ProbeStream::diagonal, s);
    for (std::uint64_t t = 0; t < kSeeds; ++t) {
      CHECK_FALSE(of_diagonal.equal(first_of(ProbeStream::trace, t)));
    }
  }
}

TEST_CASE("Probes: purposes share no seed") {
  std::set<std::uint64_t> seeds;
  for (const auto stream : kStreams) {
    for (std::uint64_t s = 0; s < kSeeds; ++s) seeds.insert(probe_seed(s, stream));
  }
  CHECK(seeds.size() == 6 * kSeeds);
}

// What runs that were recorded go on with.
TEST_CASE("Probes: Lanczos starts have the numbers of the first runs") {
  auto start = make_generator(7, RandomStream::probe, 3);
  CHECK(gaussian(8, probe_generator(probe_seed(7, ProbeStream::lanczos), 3), at::kDouble)
            .equal(at::randn({8}, start, at::kDouble)));
}

TEST_CASE("Probes: signs are +1 and -1, and vectors differ by both of their numbers") {
  const auto x = signs(1000, 1, 2, 3);
  CHECK(x.abs().equal(at::ones({1000}, at::kDouble)));
  CHECK(std::abs(x.sum().item<double>()) < 160.0);  // five standard deviations, of a fixed seed
  CHECK_FALSE(x.equal(signs(1000, 1, 3, 2)));
  CHECK_FALSE(x.equal(signs(1000, 2, 2, 3)));
  CHECK(x.equal(signs(1000, 1, 2, 3)));
}
