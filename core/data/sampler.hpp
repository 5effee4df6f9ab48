// The order in which windows of a token file are visited, as a pure function of the position.
#pragma once

#include <cstdint>

namespace blockwise {

// A bijection of [0, size) chosen by the key: four rounds of a balanced Feistel network on the next
// even number of bits, walking the cycle until the value falls inside (Black and Rogaway, "Ciphers
// with arbitrary finite domains", CT-RSA 2002). size >= 1; on average under four evaluations.
std::uint64_t permute(std::uint64_t key, std::uint64_t index, std::uint64_t size);

// Windows of `length` tokens (and the one target after them) of a file. Every epoch starts at
// another offset below `length` and visits its windows in another order, each once. A file of fewer
// than two windows has one, at another offset in each epoch.
class WindowSampler {
 public:
  // Throws InputError unless tokens >= length + 1.
  WindowSampler(std::uint64_t seed, std::int64_t tokens, std::int64_t length);
  // First token of the index-th window of the endless sequence.
  std::int64_t position(std::int64_t index) const;
  std::int64_t windows_per_epoch() const { return windows_; }

 private:
  std::uint64_t seed_;
  std::int64_t length_;
  std::int64_t windows_;
  std::int64_t offsets_;  // where an epoch may begin
};

}  // namespace blockwise
