#include "core/base/random_stream.hpp"

#include <ATen/CPUGeneratorImpl.h>

namespace blockwise {
namespace {

__extension__ using Product = unsigned __int128;

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t stream_seed(std::uint64_t seed, RandomStream stream, std::uint64_t a,
                          std::uint64_t b) {
  std::uint64_t state = mix(seed);
  state = mix(state ^ static_cast<std::uint64_t>(stream));
  state = mix(state ^ a);
  return mix(state ^ b);
}

at::Generator make_generator(std::uint64_t seed, RandomStream stream, std::uint64_t a,
                             std::uint64_t b) {
  return at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed, stream, a, b));
}

std::uint64_t uniform_index(std::uint64_t stream_seed, std::uint64_t index, std::uint64_t bound) {
  // Upper half of a 128-bit product (Lemire 2019, without rejection): the bias is below
  // bound / 2^64, nothing at the sizes of token files.
  const auto bits = static_cast<Product>(mix(stream_seed ^ mix(index)));
  return static_cast<std::uint64_t>((bits * bound) >> 64);
}

}  // namespace blockwise
