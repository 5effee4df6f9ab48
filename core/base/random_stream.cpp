#include "core/base/random_stream.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include "core/base/mix64.hpp"

namespace blockwise {
namespace {

__extension__ using Product = unsigned __int128;

}  // namespace

std::uint64_t stream_seed(std::uint64_t seed, RandomStream stream, std::uint64_t a,
                          std::uint64_t b) {
  std::uint64_t state = mix64(seed);
  state = mix64(state ^ static_cast<std::uint64_t>(stream));
  state = mix64(state ^ a);
  return mix64(state ^ b);
}

at::Generator make_generator(std::uint64_t seed, RandomStream stream, std::uint64_t a,
                             std::uint64_t b) {
  return at::make_generator<at::CPUGeneratorImpl>(stream_seed(seed, stream, a, b));
}

at::Generator make_generator_on(at::Device device, std::uint64_t seed, RandomStream stream,
                                std::uint64_t a, std::uint64_t b) {
  if (device.is_cpu()) return make_generator(seed, stream, a, b);
  auto& context = at::globalContext();
  context.lazyInitDevice(device.type());
  auto generator =
      context.getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
  generator.set_current_seed(stream_seed(seed, stream, a, b));
  return generator;
}

std::uint64_t uniform_index(std::uint64_t stream_seed, std::uint64_t index, std::uint64_t bound) {
  // Upper half of a 128-bit product (Lemire 2019, without rejection): the bias is below
  // bound / 2^64, nothing at the sizes of token files.
  const auto bits = static_cast<Product>(mix64(stream_seed ^ mix64(index)));
  return static_cast<std::uint64_t>((bits * bound) >> 64);
}

}  // namespace blockwise
