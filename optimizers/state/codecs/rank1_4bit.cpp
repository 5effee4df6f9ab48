// rank1_4bit: second moments of matrices in 4 bits with a scale per row and per column (Li et al.,
// arXiv 2309.01507, Sec. 4.2):
//   r_i = max_j v_ij,  c_j = max_i v_ij,  s_ij = min(r_i, c_j),  v_ij stored as the nearest of
//   (k + 1) / 16 times s_ij
// so that one large value spoils neither the rest of its row nor that of its column. 1/2 byte per
// value and 4 (rows + columns). The sides of a tensor of more than two are its first and all
// others; vectors have blocks of 128, as there. A tensor is coded whole, which takes float32 memory
// for the largest. On a CUDA device it is coded by LibTorch's operations (code_operations.hpp).
#include <ATen/ATen.h>

#include "optimizers/state/codecs/code_operations.hpp"
#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/codecs/dynamic_4bit.hpp"

namespace blockwise {
namespace {

class RankOne4bit : public StateCodec {
 public:
  RankOne4bit(std::int64_t rows, std::int64_t columns)
      : shape_{rows, columns}, table_(linear_4bit_map(), kernels::CodeTable::Zero::for_zero_only) {}

  std::vector<StoredPart> parts(std::int64_t size) const override {
    const bool none = size == 0;
    return {{"codes", pieces_of(size, 2), at::kByte},
            {"row_scales", none ? 0 : shape_.rows, at::kFloat},
            {"column_scales", none ? 0 : shape_.columns, at::kFloat}};
  }
  bool codes_pieces() const override { return false; }
  bool has_operations() const override { return true; }
  void decode(const std::vector<at::Tensor>& stored, const at::Tensor& values) const override {
    if (!values.is_cpu()) return decode_rank1(table_, stored, matrix(values));
    kernels::decode_rank1(table_, codes(stored), shape_, values.data_ptr<float>());
  }
  void encode(const at::Tensor& values, const std::vector<at::Tensor>& stored,
              std::uint64_t) const override {
    if (!values.is_cpu()) return encode_rank1(table_, matrix(values), stored);
    kernels::encode_rank1(table_, values.data_ptr<float>(), shape_, codes(stored));
  }

 private:
  at::Tensor matrix(const at::Tensor& values) const {
    return values.view({shape_.rows, shape_.columns});
  }
  static kernels::RankOneCodes codes(const std::vector<at::Tensor>& stored) {
    return {stored[0].data_ptr<std::uint8_t>(), stored[1].data_ptr<float>(),
            stored[2].data_ptr<float>()};
  }

  kernels::CodeShape shape_;
  kernels::CodeTable table_;
};

std::shared_ptr<const StateCodec> rank_one(const StateSpec& spec) {
  if (spec.shape.size() < 2) return dynamic_4bit(spec);
  return std::make_shared<RankOne4bit>(spec.shape[0], spec.size() / spec.shape[0]);
}

}  // namespace

std::unique_ptr<StateCodecSpec> make_rank1_4bit_codec() {
  return std::make_unique<StateCodecSpec>(
      StateCodecSpec{"rank1_4bit",
                     "16 values and scales per row and column, 0.5",
                     {StateUse::non_negative},
                     rank_one});
}

}  // namespace blockwise
