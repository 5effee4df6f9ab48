// Random streams: values that every machine must reproduce, and independence of the inputs.
#include "core/base/random_stream.hpp"

#include <bit>
#include <cmath>
#include <set>

#include "tests/support/catch.hpp"

using namespace blockwise;

TEST_CASE("Stream seeds keep the values that runs were recorded with") {
  // Computed by an independent SplitMix64 in Python, whose first output for 0 is the published
  // 0xe220a8397b1dcdaf.
  CHECK(stream_seed(0, RandomStream::init) == 0xd1c0270687984b37ULL);
  CHECK(stream_seed(1, RandomStream::data, 2, 3) == 0xc05d562fb03cf199ULL);
  CHECK(stream_seed(0xffffffffffffffffULL, RandomStream::probe, 7) == 0xceb943661be951a8ULL);
  CHECK(uniform_index(12345, 6, 1000) == 733);
}

TEST_CASE("Every input of a stream seed changes about half of its bits") {
  const auto base = stream_seed(42, RandomStream::init, 5, 9);
  const std::vector<std::uint64_t> changed = {
      stream_seed(43, RandomStream::init, 5, 9), stream_seed(42, RandomStream::data, 5, 9),
      stream_seed(42, RandomStream::init, 4, 9), stream_seed(42, RandomStream::init, 5, 8),
      stream_seed(42, RandomStream::init, 9, 5)};
  for (const auto value : changed) {
    // 64 fair bits: 32 +- 4; five deviations.
    CHECK(std::abs(std::popcount(base ^ value) - 32) <= 20);
  }
}

TEST_CASE("Neighbouring seeds, streams and positions never collide") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::uint64_t stream = 1; stream <= 5; ++stream) {
      for (std::uint64_t a = 0; a < 20; ++a) {
        for (std::uint64_t b = 0; b < 5; ++b) {
          seen.insert(stream_seed(seed, static_cast<RandomStream>(stream), a, b));
        }
      }
    }
  }
  CHECK(seen.size() == 20 * 5 * 20 * 5);
}

TEST_CASE("Indices are uniform and stay below the bound") {
  std::vector<int> counts(7, 0);
  const int draws = 70000;
  for (int i = 0; i < draws; ++i) {
    ++counts.at(uniform_index(99, static_cast<std::uint64_t>(i), counts.size()));
  }
  double chi_square = 0.0;
  for (const auto count : counts) chi_square += std::pow(count - 10000.0, 2) / 10000.0;
  // 6 degrees of freedom: 27.9 is exceeded once in ten thousand seeds; this seed is fixed.
  CHECK(chi_square < 27.9);
  CHECK(uniform_index(99, 0, 1) == 0);
}

TEST_CASE("Generators of different streams draw unrelated numbers") {
  const auto draw = [](RandomStream stream, std::uint64_t a) {
    return at::randn({20000}, make_generator(7, stream, a), at::kDouble);
  };
  const auto a = draw(RandomStream::init, 0);
  CHECK(at::equal(a, draw(RandomStream::init, 0)));
  for (const auto& b : {draw(RandomStream::init, 1), draw(RandomStream::dropout, 0)}) {
    // A correlation of 20000 pairs has deviation 0.007; four of them.
    CHECK(std::abs((a * b).mean().item<double>()) < 0.03);
  }
}

TEST_CASE("A generator on the CPU is the stream's, whoever asks for it") {
  const auto here = make_generator_on(at::kCPU, 7, RandomStream::dropout, 3, 4);
  CHECK(here.device() == at::Device(at::kCPU));
  CHECK(at::equal(at::rand({100}, here),
                  at::rand({100}, make_generator(7, RandomStream::dropout, 3, 4))));
  CHECK_THROWS_AS(make_generator_on(at::kXPU, 7, RandomStream::dropout), c10::Error);
}
