// StateCodec: how the values of one tensor of state are kept in fewer bytes between the steps. A
// step sees float32: the store decodes a parameter's state before its update and encodes it after,
// so that every rule goes with every codec.
//
// | name           | bytes per value | first moments             | second moments |
// |----------------|-----------------|---------------------------|---------------------------------|
// | bf16           | 2               | stochastic rounding       | the same | | dynamic_8bit   | 1
// + 4/256       | signed dynamic map        | unsigned one, 0 for 0 only      | | companded_8bit |
// 1 + 2/32        | softsign                  | square root, 0 for 0 only       | | dynamic_4bit |
// 1/2 + 4/128     | signed map of 16 values   | (k + 1) / 16, no code for 0     |
//
// dynamic_8bit: Dettmers et al., arXiv 2110.02861, block-wise with the map of bitsandbytes 0.44 and
// later. Deviations: a second moment above 0 never becomes 0; the scale has the sign of the largest
// value, which is kept exactly (their map has no -1). dynamic_4bit: Li et al., arXiv
// 2309.01507, blocks of 128 for both moments, as in its fused form; there is no rank-1 scale.
// companded_8bit: FlashOptim, arXiv 2602.23349. Deviations: scales in bf16, which hold for
// gradients of every size (fp16 loses those below 1e-7), rounded up and used by both directions; a
// second moment above 0 never becomes 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "optimizers/state/state_spec.hpp"

namespace blockwise {

// A tensor that holds values in their stored form; called STATE.NAME/PARAMETER where it is saved.
struct StoredPart {
  std::string name;
  std::int64_t size = 0;
  at::ScalarType type = at::kFloat;
};

class StateCodec {
 public:
  // Values from a multiple of this on are coded without what is before them.
  static constexpr std::int64_t kAlignment = 256;

  virtual ~StateCodec() = default;
  // Of `size` values. Zeros in all of them are values of 0.
  virtual std::vector<StoredPart> parts(std::int64_t size) const = 0;
  // values: float32, contiguous, on the CPU; stored: as parts() says. Cost: one pass over both.
  virtual void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const = 0;
  // seed: of rounding, another one at every step. Values must be finite.
  virtual void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
                      std::uint64_t seed) const = 0;
};

// Names of codecs, fp32 (none) first.
const std::vector<std::string>& state_codec_names();

// Null for fp32, and for uses that none is made for: bases, accumulators, whole numbers.
std::shared_ptr<const StateCodec> make_state_codec(const std::string& name, StateUse use);

}  // namespace blockwise
