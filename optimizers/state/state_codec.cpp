#include "optimizers/state/state_codec.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "optimizers/kernels/state_codes.hpp"

namespace blockwise {
namespace {

using kernels::CodeTable;

std::int64_t pieces(std::int64_t size, std::int64_t piece) { return (size + piece - 1) / piece; }

// ---- maps --------------------------------------------------------------------------------------

// Decade i of 7, from 1e-6 to 1: 2^i values with a sign, or 2^(i + 1) without, at the middles of
// equal parts of [0.1, 1]; and 0 and 1.
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

std::vector<float> signed_4bit_map() {
  std::vector<float> values = {0.0F, 1.0F};
  for (const auto value : {0.0055F, 0.0325F, 0.0775F, 0.2125F, 0.4375F, 0.6625F, 0.8875F}) {
    values.insert(values.end(), {-value, value});
  }
  std::ranges::sort(values);
  return values;
}

std::vector<float> linear_4bit_map() {
  std::vector<float> values;
  for (int k = 1; k <= 16; ++k) values.push_back(static_cast<float>(k) / 16.0F);
  return values;
}

CodeTable::Zero zero_of(StateUse use) {
  return use == StateUse::average ? CodeTable::Zero::plain : CodeTable::Zero::for_zero_only;
}

kernels::Codes codes_of(const std::vector<at::Tensor>& stored) {
  return {stored[0].data_ptr<std::uint8_t>(), stored[1].data_ptr<float>()};
}

// ---- codecs ------------------------------------------------------------------------------------

class Dynamic8bit : public StateCodec {
 public:
  explicit Dynamic8bit(StateUse use)
      : table_(dynamic_map(use == StateUse::average), zero_of(use)) {}

  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", size, at::kByte}, {"scales", pieces(size, kBlock), at::kFloat}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_8bit(table_, codes_of(stored), values.numel(), kBlock,
                         values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_8bit(table_, values.data_ptr<float>(), values.numel(), kBlock,
                         codes_of(stored));
  }

 private:
  static constexpr std::int64_t kBlock = 256;
  CodeTable table_;
};

class Dynamic4bit : public StateCodec {
 public:
  explicit Dynamic4bit(StateUse use)
      : table_(use == StateUse::average ? signed_4bit_map() : linear_4bit_map(), zero_of(use)) {}

  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", pieces(size, 2), at::kByte}, {"scales", pieces(size, kBlock), at::kFloat}};
  }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    kernels::decode_4bit(table_, codes_of(stored), values.numel(), kBlock,
                         values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    kernels::encode_4bit(table_, values.data_ptr<float>(), values.numel(), kBlock,
                         codes_of(stored));
  }

 private:
  static constexpr std::int64_t kBlock = 128;
  CodeTable table_;
};

// The bits of a bf16 tensor, for kernels that know no LibTorch.
std::uint16_t* bf16_bits(const at::Tensor& x) {
  return reinterpret_cast<std::uint16_t*>(x.data_ptr<at::BFloat16>());
}

std::vector<StoredPart> companded_parts(std::int64_t size, at::ScalarType codes) {
  return {{"codes", size, codes},
          {"scales", pieces(size, kernels::kCompandedBlock), at::kBFloat16}};
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
};

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
};

}  // namespace

const std::vector<std::string>& state_codec_names() {
  static const std::vector<std::string> names = {"fp32", "bf16", "dynamic_8bit", "companded_8bit",
                                                 "dynamic_4bit"};
  return names;
}

std::shared_ptr<const StateCodec> make_state_codec(const std::string& name, StateUse use) {
  const bool is_moment = use == StateUse::average || use == StateUse::non_negative;
  if (name == "fp32" || !is_moment) return nullptr;
  if (name == "bf16") return std::make_shared<Bf16>();
  if (name == "dynamic_8bit") return std::make_shared<Dynamic8bit>(use);
  if (name == "dynamic_4bit") return std::make_shared<Dynamic4bit>(use);
  require_input(name == "companded_8bit", "unknown format of state '{}'", name);
  if (use == StateUse::average) return std::make_shared<Softsign8bit>();
  return std::make_shared<Root8bit>();
}

}  // namespace blockwise
