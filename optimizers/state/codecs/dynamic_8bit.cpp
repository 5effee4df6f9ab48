// dynamic_8bit: block-wise dynamic quantization (Dettmers et al., arXiv 2110.02861) with the map of
// bitsandbytes 0.44 and later: 1 + 4/256 bytes per value. Decade i of 7, from 1e-6 to 1, has 2^i
// values with a sign, or 2^(i + 1) without, at the middles of equal parts of [0.1, 1]; and 0 and 1.
// Deviations: a second moment above 0 never becomes 0; the scale has the sign of the block's
// largest value, which is kept exactly (their map has no -1).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kBlock = 256;

std::vector<float> dynamic_map(bool is_signed) {
  std::vector<float> values = {0.0F, 1.0F};
  for (int decade = 0; decade < 7; ++decade) {
    const int count = 1 << (is_signed ? decade : decade + 1);
    for (int k = 0; k < count; ++k) {
      const double middle = 0.1 + 0.9 * (k + 0.5) / count;
      const auto value = static_cast<float>(middle * std::pow(10.0, decade - 6));
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::ranges::sort(values);
  return values;
}

class Dynamic8bit : public StateCodec {
 public:
  explicit Dynamic8bit(StateUse use)
      : table_(dynamic_map(use == StateUse::average), zero_of(use)) {}

  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", size, at::kByte}, {"scales", pieces_of(size, kBlock), at::kFloat}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_8bit(table_.values(), codes_of(stored), values.numel(), kBlock,
                         values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_8bit(table_, values.data_ptr<float>(), values.numel(), kBlock,
                         codes_of(stored));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  kernels::CodeTable table_;
  NumberFormat device_format_ = device_format_of(table_, NumberFormat::Kind::table_8bit);
};

}  // namespace

std::unique_ptr<StateCodecSpec> make_dynamic_8bit_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"dynamic_8bit",
                     "bitsandbytes' map, 1.016",
                     {StateUse::average, StateUse::non_negative},
                     [](const StateSpec& spec) -> std::shared_ptr<const StateCodec> {
                       return std::make_shared<Dynamic8bit>(spec.use);
                     }});
}

}  // namespace blockwise
