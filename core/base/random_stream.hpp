// Named random streams. Every random number of a run comes from a generator that is a pure function
// of (seed, stream, a, b): nothing is drawn from a global generator, and resuming needs no saved
// generator state because step t makes its own.
//
// Mixing: core/base/mix64.hpp chained over the inputs.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>

#include <cstdint>

namespace blockwise {

enum class RandomStream : std::uint64_t {
  init = 1,
  data = 2,
  dropout = 3,
  rounding = 4,
  probe = 5,
  sampling = 6,
  rule = 7,             // what an optimizer's rule draws
  difference_step = 8,  // the direction along which the step of difference products is chosen
  curvature_labels = 9  // labels that the model samples for an optimizer's rule
};

// 64 bits that depend on all inputs; equal inputs give equal bits on every machine.
std::uint64_t stream_seed(std::uint64_t seed, RandomStream stream, std::uint64_t a = 0,
                          std::uint64_t b = 0);

// A CPU generator at the start of the stream.
at::Generator make_generator(std::uint64_t seed, RandomStream stream, std::uint64_t a = 0,
                             std::uint64_t b = 0);

// The same for what is drawn where the pass runs: on the CPU that generator; on a CUDA device one
// of LibTorch's there, counter-based (Philox4x32-10; Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011), whose numbers are others, and depend on the number of the device's
// multiprocessors. Throws c10::Error where LibTorch has no such device.
at::Generator make_generator_on(at::Device device, std::uint64_t seed, RandomStream stream,
                                std::uint64_t a = 0, std::uint64_t b = 0);

// Counter-based: the index-th number of a stream, uniform in [0, bound). bound > 0.
std::uint64_t uniform_index(std::uint64_t stream_seed, std::uint64_t index, std::uint64_t bound);

}  // namespace blockwise
