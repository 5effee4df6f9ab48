#include "hessian/probe_vectors.hpp"

#include <ATen/ATen.h>

#include <utility>

namespace blockwise {
namespace {

// Behind all places of vectors.
constexpr std::uint64_t kStreams = std::uint64_t{1} << 50;

}  // namespace

std::uint64_t probe_seed(std::uint64_t seed, ProbeStream stream) {
  if (stream == ProbeStream::lanczos) return seed;
  return stream_seed(seed, RandomStream::probe, kStreams, static_cast<std::uint64_t>(stream));
}

at::Generator probe_generator(std::uint64_t seed, std::uint64_t a, std::uint64_t b) {
  return make_generator(seed, RandomStream::probe, a, b);
}

at::Generator probe_generator(std::uint64_t seed, ProbePlace place, std::uint64_t b) {
  return probe_generator(seed, static_cast<std::uint64_t>(place), b);
}

at::Tensor rademacher(at::IntArrayRef shape, at::Generator generator) {
  return at::randint(2, shape, std::move(generator), at::TensorOptions(at::kDouble))
      .mul_(2.0)
      .sub_(1.0);
}

at::Tensor signs(std::int64_t size, std::uint64_t seed, std::int64_t a, std::int64_t b) {
  return rademacher(
      {size}, probe_generator(seed, static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b)));
}

at::Tensor gaussian(std::int64_t size, at::Generator generator, const at::TensorOptions& options) {
  return at::randn({size}, std::move(generator), at::kDouble).to(options);
}

}  // namespace blockwise
