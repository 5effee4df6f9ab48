#include "core/data/sampler.hpp"

#include <algorithm>
#include <bit>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"

namespace blockwise {

std::uint64_t permute(std::uint64_t key, std::uint64_t index, std::uint64_t size) {
  const int half = (std::bit_width(size - 1) + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  std::uint64_t value = index;
  do {
    std::uint64_t left = value >> half;
    std::uint64_t right = value & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const auto mixed = stream_seed(key, RandomStream::data, round, right) & mask;
      const auto next = left ^ mixed;
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= size);
  return value;
}

WindowSampler::WindowSampler(std::uint64_t seed, std::int64_t tokens, std::int64_t length)
    : seed_(seed),
      length_(length),
      windows_(std::max<std::int64_t>(1, (tokens - 1) / length - 1)),
      offsets_(std::min(length, tokens - length)) {
  require_input(tokens > length,
                "{} tokens are too few for a sequence of {} (data.sequence_length) and its last "
                "target: at least {} are needed",
                tokens, length, length + 1);
}

std::int64_t WindowSampler::position(std::int64_t index) const {
  const auto epoch = static_cast<std::uint64_t>(index / windows_);
  const auto key = stream_seed(seed_, RandomStream::data, epoch);
  const auto offset =
      static_cast<std::int64_t>(uniform_index(key, 0, static_cast<std::uint64_t>(offsets_)));
  const auto window = permute(key, static_cast<std::uint64_t>(index % windows_),
                              static_cast<std::uint64_t>(windows_));
  return offset + static_cast<std::int64_t>(window) * length_;
}

}  // namespace blockwise
