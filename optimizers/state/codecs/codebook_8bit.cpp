// codebook_8bit: first moments as 256 values that are learned from the tensor's first ones, with a
// scale per 256 (Gefen, arXiv 2606.13894): 1 + 4/256 bytes per value and 1 KiB a tensor.
//   at the first encoding: x / s in 4096 equal parts of [-1, 1]; the 256 centres with the least sum
//   of squared distances (codebook.hpp); the ends become -1 and 1, the value nearest to 0 becomes 0
//   afterwards: the nearest of them
// Deviations: a codebook per tensor instead of one per model, so that it needs nothing of the
// others, learned from the moment instead of the gradient; learned again while there were fewer
// than 256 different values (the first steps of SM3 are all +1 or -1); 0 is one of the values, so
// that an average of zeros stays; the step sees the moment before it is coded, as with every codec
// here, not after. A tensor is coded whole, which takes float32 memory for the largest. On a
// CUDA device it is coded by LibTorch's operations (code_operations.hpp); the first values of a
// tensor travel to the host, where its codebook is learned.
#include <ATen/ATen.h>

#include <atomic>

#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/codecs/code_operations.hpp"
#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/codecs/codebook.hpp"
#include "optimizers/state/state_codec.hpp"

namespace blockwise {
namespace {

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kValues = 256;

class Codebook8bit : public StateCodec {
 public:
  std::vector<StoredPart> parts(std::int64_t size) const override {
    return {{"codes", size, at::kByte},
            {"scales", pieces_of(size, kBlock), at::kFloat},
            {"codebook", size == 0 ? 0 : kValues, at::kFloat}};
  }
  bool codes_pieces() const override { return false; }
  bool has_operations() const override { return true; }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    if (!values.is_cpu()) return decode_codebook(stored, kBlock, values);
    const kernels::Codebook book(values_of(stored));
    kernels::decode_codebook(book, codes_of(stored), values.numel(), kBlock,
                             values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    if (!values.is_cpu()) return encode_on_device(values, stored);
    const std::span<const float> x(values.data_ptr<float>(),
                                   static_cast<std::size_t>(values.numel()));
    if (has_free_places(values_of(stored))) learn_codebook(x, kBlock, values_of(stored));
    const kernels::Codebook book(values_of(stored));
    kernels::encode_codebook(book, x.data(), values.numel(), kBlock, codes_of(stored));
  }

 private:
  // A codebook without free places stays as it is, and the host need not look at it again.
  void encode_on_device(const at::Tensor& values, const std::vector<at::Tensor>& stored) const {
    if (!is_full_ && values.numel() > 0) {
      const auto here = values.cpu();
      const std::vector<at::Tensor> book = {{}, {}, stored[2].cpu()};
      if (has_free_places(values_of(book))) {
        learn_codebook({here.data_ptr<float>(), std::size_t(here.numel())}, kBlock,
                       values_of(book));
        stored[2].copy_(book[2]);
      }
      is_full_ = !has_free_places(values_of(book));
    }
    encode_codebook(values, kBlock, stored);
  }
  static std::span<float> values_of(const std::vector<at::Tensor>& stored) {
    return {stored[2].data_ptr<float>(), static_cast<std::size_t>(kValues)};
  }

  mutable std::atomic<bool> is_full_ = false;
};

}  // namespace

std::unique_ptr<StateCodecSpec> make_codebook_8bit_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"codebook_8bit",
                     "256 values learned from the first step and a scale per 256, 1.016",
                     {StateUse::average},
                     [](const StateSpec&) -> std::shared_ptr<const StateCodec> {
                       return std::make_shared<Codebook8bit>();
                     }});
}

}  // namespace blockwise
