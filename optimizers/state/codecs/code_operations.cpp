#include "optimizers/state/codecs/code_operations.hpp"

#include <ATen/ATen.h>

namespace blockwise {
namespace {

// x / s of each value: x times 1 / s where that is finite, otherwise the quotient within [-1, 1]; 0
// where s is.
at::Tensor scaled_values(const at::Tensor& x, const at::Tensor& scales) {
  const auto inverse = at::ones_like(scales).div_(scales).masked_fill_(scales == 0, 0.0);
  return at::where(inverse.isfinite(), x * inverse, (x / scales).clamp_(-1.0, 1.0));
}

// uint8: how many of the ascending thresholds are below each x.
at::Tensor codes_between(const at::Tensor& x, const at::Tensor& thresholds) {
  return at::bucketize(x.contiguous(), thresholds).to(at::kByte);
}

at::Tensor values_of_codes(const at::Tensor& values, const at::Tensor& codes) {
  return values.index_select(0, codes.flatten().to(at::kInt)).view(codes.sizes());
}

// Two codes of 4 bits to a byte, the first in the low half; of an odd number the last byte has one.
at::Tensor packed_codes(const at::Tensor& codes) {
  const auto flat = codes.flatten();
  const auto pairs = at::constant_pad_nd(flat, {0, flat.numel() % 2}).view({-1, 2});
  return pairs.select(1, 0).bitwise_or(pairs.select(1, 1).bitwise_left_shift(4));
}

at::Tensor unpacked_codes(const at::Tensor& packed, std::int64_t count) {
  const auto pairs = at::stack({packed.bitwise_and(15), packed.bitwise_right_shift(4)}, 1);
  return pairs.flatten().narrow(0, 0, count);
}

// Of each piece of `block` values the largest size; the last piece may be shorter.
at::Tensor largest_of_blocks(const at::Tensor& x, std::int64_t block) {
  const auto rest = (block - x.numel() % block) % block;
  return at::constant_pad_nd(x, {0, rest}).view({-1, block}).abs().amax(1);
}

// Of each of n values its block's.
at::Tensor spread_over_blocks(const at::Tensor& of_blocks, std::int64_t block, std::int64_t n) {
  return of_blocks.unsqueeze(1).expand({of_blocks.numel(), block}).flatten().narrow(0, 0, n);
}

// Between a value and the next.
at::Tensor midpoints(const at::Tensor& ascending) {
  const auto last = ascending.numel() - 1;
  return (ascending.narrow(0, 0, last) + ascending.narrow(0, 1, last)) * 0.5;
}

at::Tensor table_on(const at::Tensor& like, const kernels::NumberTable& table, std::size_t count) {
  const at::ArrayRef<float> numbers(table.numbers.data(), count);
  const auto here = at::tensor(numbers, at::kFloat);
  // From pinned memory, so that the host does not wait for what the device is at.
  return like.is_cpu() ? here : here.pin_memory().to(like.device(), at::kFloat, true);
}

at::Tensor scales_of(const std::vector<at::Tensor>& stored) {
  return at::minimum(stored[1].unsqueeze(1), stored[2].unsqueeze(0));
}

}  // namespace

void encode_codebook(const at::Tensor& values, std::int64_t block,
                     const std::vector<at::Tensor>& stored) {
  if (values.numel() == 0) return;
  stored[1].copy_(largest_of_blocks(values, block));
  const auto scaled = scaled_values(values, spread_over_blocks(stored[1], block, values.numel()));
  stored[0].copy_(codes_between(scaled, midpoints(stored[2])));
}

void decode_codebook(const std::vector<at::Tensor>& stored, std::int64_t block,
                     const at::Tensor& values) {
  if (values.numel() == 0) return;
  values.copy_(values_of_codes(stored[2], stored[0]));
  values.mul_(spread_over_blocks(stored[1], block, values.numel()));
}

void encode_rank1(const kernels::CodeTable& table, const at::Tensor& matrix,
                  const std::vector<at::Tensor>& stored) {
  if (matrix.numel() == 0) return;
  stored[1].copy_(matrix.abs().amax(1));
  stored[2].copy_(matrix.amax(0).clamp_min_(0.0));
  const auto thresholds = table_on(matrix, table.thresholds(), table.size() - 1);
  stored[0].copy_(
      packed_codes(codes_between(scaled_values(matrix, scales_of(stored)), thresholds)));
}

void decode_rank1(const kernels::CodeTable& table, const std::vector<at::Tensor>& stored,
                  const at::Tensor& matrix) {
  if (matrix.numel() == 0) return;
  const auto codes = unpacked_codes(stored[0], matrix.numel()).view(matrix.sizes());
  matrix.copy_(values_of_codes(table_on(matrix, table.values(), table.size()), codes));
  matrix.mul_(scales_of(stored));
}

}  // namespace blockwise
