// StateCodec: how the values of one tensor of state are kept in fewer bytes between the steps. A
// step sees float32: the store decodes a parameter's state before its update and encodes it after,
// so that every rule goes with every codec. A codec is one file of codecs/ and one line of
// state/registry.inc.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/kernels/device/number_formats.hpp"
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
  // False where only a whole tensor can be coded.
  virtual bool codes_pieces() const { return true; }
  // values: float32, contiguous, on the CPU, or on any device where has_operations(); stored: as
  // parts() says. Cost: one pass over both.
  virtual void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const = 0;
  // seed: of rounding, another one at every step. Values must be finite.
  virtual void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
                      std::uint64_t seed) const = 0;
  // How kernels on a CUDA device store the same bits; null where there are none.
  virtual const NumberFormat* device_format() const { return nullptr; }
  // Whether LibTorch's operations store them there.
  virtual bool has_operations() const { return false; }
};

// What `optimizer.state` can name.
struct StateCodecSpec {
  std::string name;
  std::string doc;                // with the bytes per value
  std::vector<StateUse> moments;  // what it is made for, of average and non_negative
  std::shared_ptr<const StateCodec> (*make)(const StateSpec& spec);
};

const Registry<StateCodecSpec>& state_codecs();

// "fp32" (none), then what is made for the use.
std::vector<std::string> state_codec_names(StateUse use);

// Null for fp32, and for uses that the codec is not made for: bases, accumulators, whole numbers.
// Throws InputError for an unknown name.
std::shared_ptr<const StateCodec> make_state_codec(const std::string& name, const StateSpec& spec);

}  // namespace blockwise
