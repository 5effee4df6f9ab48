// dynamic_4bit: two codes per byte and a scale per 128 values for both moments, as in the fused
// form of Li et al., arXiv 2309.01507: 1/2 + 4/128 bytes per value. The scale has the sign of the
// block's largest value, which is kept exactly. For their rank-1 scales of second moments see
// rank1_4bit.cpp.
#include <ATen/ATen.h>

#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/codecs/dynamic_4bit.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kBlock = 128;

class Dynamic4bit : public StateCodec {
 public:
  explicit Dynamic4bit(StateUse use)
      : table_(use == StateUse::average ? signed_4bit_map() : linear_4bit_map(), zero_of(use)) {}

  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", pieces_of(size, 2), at::kByte},
            {"scales", pieces_of(size, kBlock), at::kFloat}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_4bit(table_.values(), codes_of(stored), values.numel(), kBlock,
                         values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_4bit(table_, values.data_ptr<float>(), values.numel(), kBlock,
                         codes_of(stored));
  }
  const NumberFormat* device_format() const override { return &device_format_; }

 private:
  kernels::CodeTable table_;
  NumberFormat device_format_ = device_format_of(table_, NumberFormat::Kind::table_4bit);
};

}  // namespace

std::shared_ptr<const StateCodec> dynamic_4bit(const StateSpec& spec) {
  return std::make_shared<Dynamic4bit>(spec.use);
}

std::unique_ptr<StateCodecSpec> make_dynamic_4bit_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"dynamic_4bit",
                     "16 values and a scale per 128, 0.531",
                     {StateUse::average, StateUse::non_negative},
                     dynamic_4bit});
}

}  // namespace blockwise
