// bf16 with stochastic rounding: 2 bytes per value. x goes to one of its two neighbours with the
// probability that makes the mean x, so that an average that moves by less than half a step of bf16
// still moves. Without it a moment with decay 0.999 stands still (arXiv 2603.16731).
#include <ATen/ATen.h>

#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/codecs/bf16_bits.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

class Bf16 : public StateCodec {
 public:
  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"bf16", size, at::kBFloat16}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_bf16(bf16_bits(stored[0]), values.numel(), values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t seed) const override {
    kernels::encode_bf16(values.data_ptr<float>(), values.numel(), seed, bf16_bits(stored[0]));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  NumberFormat device_format_{NumberFormat::Kind::bf16};
};

}  // namespace

std::unique_ptr<StateCodecSpec> make_bf16_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"bf16",
                     "stochastic rounding, 2 bytes per value",
                     {StateUse::average, StateUse::non_negative},
                     [](const StateSpec&) -> std::shared_ptr<const StateCodec> {
                       return std::make_shared<Bf16>();
                     }});
}

}  // namespace blockwise
