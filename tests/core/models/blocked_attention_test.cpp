// Where the layers take it, and what it promises to memory and autograd.
#include "core/models/blocked_attention.hpp"

#include <torch/csrc/autograd/autograd.h>

#include "core/base/error.hpp"
#include "core/memory/memory_meter.hpp"
#include "core/memory/meta_memory.hpp"
#include "core/models/layers.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor heads(std::int64_t count, std::int64_t length, const at::TensorOptions& options) {
  return at::ones({2, length, count, 24}, options).transpose(1, 2).requires_grad_(true);
}

void forward_and_backward(const at::TensorOptions& options) {
  const auto q = heads(4, 90, options), k = heads(2, 90, options), v = heads(2, 90, options);
  const auto out = blocked_attention(q, k, v, 0);
  torch::autograd::grad({out}, {q, k, v}, {at::ones_like(out)}, false, false);
}

}  // namespace

TEST_CASE("Blocked attention is for whole sequences in float32 and bfloat16") {
  const auto q = heads(4, 5, at::kFloat), k = heads(2, 5, at::kFloat);
  CHECK(can_block_attention(q, k, k));
  CHECK(can_block_attention(q.to(at::kBFloat16), k.to(at::kBFloat16), k.to(at::kBFloat16)));
  CHECK(can_block_attention(q.to(at::kMeta), k.to(at::kMeta), k.to(at::kMeta)));
  CHECK_FALSE(can_block_attention(q, k.to(at::kBFloat16), k));
  CHECK_FALSE(can_block_attention(q.to(at::kDouble), k.to(at::kDouble), k.to(at::kDouble)));
  CHECK_FALSE(can_block_attention(q.narrow(2, 0, 1), k, k));
  const auto wide = at::ones({1, 1, 3, 257});
  CHECK_FALSE(can_block_attention(wide, wide, wide));
}

TEST_CASE("Blocked attention gives the layers what LibTorch's gives, heads merged without a copy") {
  at::manual_seed(2);
  const auto random = [](std::int64_t count) {
    return at::randn({2, 45, count, 24}).transpose(1, 2);
  };
  const auto q = random(4), k = random(2), v = random(2);
  for (const std::int64_t window : {0, 9}) {
    ForwardContext context;
    const auto found = causal_attention(q, k, v, {0.0, window}, context);
    const auto expected = causal_attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble),
                                           {0.0, window}, context);
    CHECK(at::allclose(found.to(at::kDouble), expected, 0.0, 1e-5));  // as in the kernel's test
    CHECK(merge_heads(found).data_ptr() == found.data_ptr());
  }
}

TEST_CASE("A rehearsal of blocked attention takes the memory that it takes") {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto peak = [&] {
      const MemoryMeter meter(at::kCPU);
      forward_and_backward(at::TensorOptions(type));
      return meter.peak_allocated();
    }();
    const MetaMemory memory;
    forward_and_backward(at::TensorOptions(type).device(at::kMeta));
    CHECK(peak > 2 * 90 * 4 * 24);
    CHECK(memory.peak() == peak);
  }
}

TEST_CASE("Blocked attention cannot be differentiated twice, and says so") {
  const auto q = heads(2, 5, at::kFloat), k = heads(2, 5, at::kFloat);
  const auto out = blocked_attention(q, k, k, 0);
  CHECK_THROWS_AS(torch::autograd::grad({out.sum()}, {q}, {}, true, true), InvariantError);
}
