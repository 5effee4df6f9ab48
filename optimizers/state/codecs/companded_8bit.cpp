// companded_8bit (FlashOptim, arXiv 2602.23349): 8 bits behind a curve, with a scale per 32 values:
// 1 + 2/32 bytes per value. First moments by softsign, second moments by their root; see
// kernels/state_codes.hpp.
// Deviations: scales in bf16, which hold for gradients of every size (fp16 loses those below 1e-7),
// rounded up and used by both directions; a second moment above 0 never becomes 0.
#include <ATen/ATen.h>

#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/codecs/bf16_bits.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

std::vector<StoredPart> companded_parts(std::int64_t size, at::ScalarType codes) {
  const auto blocks = (size + kernels::kCompandedBlock - 1) / kernels::kCompandedBlock;
  return {{"codes", size, codes}, {"scales", blocks, at::kBFloat16}};
}

NumberFormat companded_format(NumberFormat::Kind kind, float (*value_of)(std::uint8_t)) {
  NumberFormat format{kind};
  for (int code = 0; code < 256; ++code) {
    format.values[std::size_t(code)] = value_of(std::uint8_t(code));
  }
  return format;
}

class Softsign8bit : public StateCodec {
 public:
  std::vector<StoredPart> parts(std::int64_t size) const override {
    return companded_parts(size, at::kChar);
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_softsign(stored[0].data_ptr<std::int8_t>(), bf16_bits(stored[1]),
                             values.numel(), values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_softsign(values.data_ptr<float>(), values.numel(),
                             stored[0].data_ptr<std::int8_t>(), bf16_bits(stored[1]));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  NumberFormat device_format_ =
      companded_format(NumberFormat::Kind::softsign, kernels::softsign_value);
};

class Root8bit : public StateCodec {
 public:
  std::vector<StoredPart> parts(std::int64_t size) const override {
    return companded_parts(size, at::kByte);
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_root(stored[0].data_ptr<std::uint8_t>(), bf16_bits(stored[1]), values.numel(),
                         values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_root(values.data_ptr<float>(), values.numel(),
                         stored[0].data_ptr<std::uint8_t>(), bf16_bits(stored[1]));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  NumberFormat device_format_ = companded_format(NumberFormat::Kind::root, kernels::root_value);
};

std::shared_ptr<const StateCodec> companded(const StateSpec& spec) {
  if (spec.use == StateUse::average) return std::make_shared<Softsign8bit>();
  return std::make_shared<Root8bit>();
}

}  // namespace

std::unique_ptr<StateCodecSpec> make_companded_8bit_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"companded_8bit",
                     "8 bits behind a softsign or a root and a scale per 32, 1.063",
                     {StateUse::average, StateUse::non_negative},
                     companded});
}

}  // namespace blockwise
