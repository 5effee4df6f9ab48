// fp8: float8_e4m3fn (4 bits of exponent, 3 of mantissa, largest value 448) with a scale per 256
// values that takes the largest to 448: 1 + 4/256 bytes per value, as in torchao's AdamWFp8.
// Deviations: a second moment above 0 never becomes 0 (it stays at the smallest value, 2^-18 of the
// block's largest).
#include <ATen/ATen.h>

#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kBlock = 256;

class Fp8 : public StateCodec {
 public:
  explicit Fp8(StateUse use) : zero_(zero_of(use)) {
    device_format_.keeps_positive = zero_ == kernels::CodeTable::Zero::for_zero_only;
    for (int code = 0; code < 256; ++code) {
      device_format_.values[std::size_t(code)] = kernels::from_fp8(std::uint8_t(code));
    }
  }

  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", size, at::kByte}, {"scales", pieces_of(size, kBlock), at::kFloat}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_fp8(codes_of(stored), values.numel(), kBlock, values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_fp8(values.data_ptr<float>(), values.numel(), kBlock, zero_, codes_of(stored));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  kernels::CodeTable::Zero zero_;
  NumberFormat device_format_{NumberFormat::Kind::fp8};
};

}  // namespace

std::unique_ptr<StateCodecSpec> make_fp8_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"fp8",
                     "E4M3 and a scale per 256, 1.016",
                     {StateUse::average, StateUse::non_negative},
                     [](const StateSpec& spec) -> std::shared_ptr<const StateCodec> {
                       return std::make_shared<Fp8>(spec.use);
                     }});
}

}  // namespace blockwise
