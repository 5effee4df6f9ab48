// Through blocked_attention, against attention written out in float64, on every instruction set
// that the machine has.
#include "core/kernels/causal_attention.hpp"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/models/blocked_attention.hpp"
#include "tests/core/kernels/every_target.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Case {
  std::int64_t batch, heads, key_heads, length, width, window;
};

// q, k, v and dL/d out.
struct Tensors {
  at::Tensor q, k, v, slope;
};

// Views of projections [B, T, heads, D].
Tensors random_tensors(const Case& c, at::ScalarType type) {
  at::manual_seed(7);
  const auto heads = [&](std::int64_t count) {
    return at::randn({c.batch, c.length, count, c.width}).to(type).transpose(1, 2);
  };
  return {heads(c.heads), heads(c.key_heads), heads(c.key_heads), heads(c.heads)};
}

using Attention =
    std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

// The result and the gradients of <result, slope>.
std::vector<at::Tensor> pass(const Tensors& x, const Attention& attention) {
  const auto q = x.q.detach().requires_grad_(true), k = x.k.detach().requires_grad_(true);
  const auto v = x.v.detach().requires_grad_(true);
  const auto out = attention(q, k, v);
  auto result = torch::autograd::grad({out}, {q, k, v}, {x.slope}, false, false);
  result.insert(result.begin(), out.detach());
  return result;
}

std::vector<at::Tensor> blocked(const Tensors& x, std::int64_t window) {
  return pass(x, [=](const auto& q, const auto& k, const auto& v) {
    return blocked_attention(q, k, v, window);
  });
}

std::vector<at::Tensor> written_out(const Tensors& x, std::int64_t window) {
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const Tensors y = {wide(x.q), wide(x.k), wide(x.v), wide(x.slope)};
  return pass(y, [=](const auto& q, const auto& k, const auto& v) {
    const auto groups = q.size(1) / k.size(1), length = q.size(2);
    const auto seen = at::ones({length, length}, at::kBool).tril();
    const auto hidden = seen.logical_not().logical_or(
        at::ones({length, length}, at::kBool).tril(window > 0 ? -window : -length));
    const auto scores = at::matmul(q, k.repeat_interleave(groups, 1).transpose(2, 3)) /
                        std::sqrt(double(q.size(3)));
    const auto p =
        at::softmax(scores.masked_fill(hidden, -std::numeric_limits<double>::infinity()), -1);
    return at::matmul(p, v.repeat_interleave(groups, 1));
  });
}

// The largest difference, in units of the largest element or of 1.
double largest_error(const at::Tensor& found, const at::Tensor& expected) {
  const auto size = std::max(1.0, expected.abs().max().item<double>());
  return (found.to(at::kDouble) - expected).abs().max().item<double>() / size;
}

// float32: scores of size 8 are off by some of their ULPs, 1e-6, and so are probabilities, relative
// to themselves; dp - mean, of size 10, adds as much. bfloat16: a result's rounding is 2^-9 of it,
// and the rounded result's product with a slope shifts a gradient by about as much.
double tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-5 : 0x1p-7; }

void check_case(const Case& c, at::ScalarType type) {
  INFO(c.batch << " x " << c.heads << "/" << c.key_heads << " heads, length " << c.length
               << ", width " << c.width << ", window " << c.window << ", " << toString(type));
  const auto x = random_tensors(c, type);
  const auto found = blocked(x, c.window), expected = written_out(x, c.window);
  for (std::size_t i = 0; i < 4; ++i) {
    INFO("tensor " << i);
    CHECK(found[i].scalar_type() == type);
    CHECK(found[i].transpose(1, 2).is_contiguous());
    CHECK(largest_error(found[i], expected[i]) < tolerance(type));
  }
}

}  // namespace

TEST_CASE("Blocked attention and its gradients equal those written out, whatever the sizes") {
  const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 0},     {2, 3, 3, 2, 3, 0},    {1, 2, 2, 7, 16, 0},   {1, 2, 1, 16, 5, 0},
      {2, 4, 2, 33, 24, 0},   {1, 2, 2, 64, 64, 0},  {1, 6, 2, 65, 40, 0},  {1, 1, 1, 130, 33, 0},
      {1, 2, 2, 200, 256, 0}, {1, 2, 1, 200, 8, 1},  {1, 1, 1, 97, 20, 5},  {1, 2, 1, 150, 12, 64},
      {1, 1, 1, 131, 7, 77},  {1, 1, 1, 90, 48, 90}, {1, 1, 1, 90, 4, 1000}};
  on_every_target([&] {
    for (const auto& c : cases) {
      check_case(c, at::kFloat);
      check_case(c, at::kBFloat16);
    }
  });
}

TEST_CASE("Blocked attention goes on beyond one strip of keys") {
  on_every_target([] {
    for (const std::int64_t window : {0, 100, 530, 700}) {
      check_case({1, 1, 1, 1100, 8, window}, at::kFloat);
    }
  });
}

TEST_CASE("Blocked attention takes any strides, slopes of a sum too") {
  auto x = random_tensors({2, 2, 2, 70, 12, 0}, at::kFloat);
  const auto expected = blocked(x, 0);
  x.q = x.q.transpose(2, 3).contiguous().transpose(2, 3);
  x.k = x.k.contiguous();
  const auto projection = at::zeros({2, 2, 70, 3, 12});
  projection.select(3, 1).copy_(x.v);
  x.v = projection.select(3, 1);
  const auto found = blocked(x, 0);
  for (std::size_t i = 0; i < 4; ++i) CHECK(at::equal(found[i], expected[i]));
  x.slope = at::ones({}).expand({2, 2, 70, 12});
  const auto of_sum = blocked(x, 0), written = written_out(x, 0);
  for (std::size_t i = 0; i < 4; ++i) CHECK(largest_error(of_sum[i], written[i]) < 1e-5);
}

// Softmax is of differences: one large score leaves the others nothing.
TEST_CASE("Blocked attention of scores far apart is the largest one's value") {
  auto x = random_tensors({1, 1, 1, 40, 16, 0}, at::kFloat);
  x.q.fill_(100.0F);
  x.k.zero_().select(2, 3).fill_(100.0F);
  on_every_target([&] {
    const auto out = blocked_attention(x.q, x.k, x.v, 0);
    for (const std::int64_t row : {3, 20, 39}) {
      CHECK(at::equal(out.select(2, row), x.v.select(2, 3)));
    }
  });
}

TEST_CASE("A NaN or an infinity makes NaN of the rows that see it and of no other") {
  constexpr std::int64_t kLength = 70, kWindow = 20;
  const auto infinity = std::numeric_limits<float>::infinity();
  const auto spoiled_rows = [](const Tensors& x, std::int64_t window) {
    const auto out = blocked_attention(x.q, x.k, x.v, window);
    const auto whole = out.isnan().all(-1).flatten(), some = out.isfinite().logical_not().any(-1);
    CHECK(at::equal(whole, some.flatten()));
    return whole;
  };
  on_every_target([&] {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
      for (const std::int64_t at : {0, 5, 31, 40, 69}) {
        INFO(bad << " at " << at);
        auto x = random_tensors({1, 1, 1, kLength, 24, 0}, at::kFloat);
        const auto positions = at::arange(kLength);
        for (auto* seen : {&x.k, &x.v}) {
          const auto before = seen->clone();
          seen->select(2, at).select(2, 20).fill_(bad);
          CHECK(at::equal(spoiled_rows(x, 0), positions.ge(at)));
          CHECK(at::equal(spoiled_rows(x, kWindow),
                          positions.ge(at).logical_and(positions.lt(at + kWindow))));
          seen->copy_(before);
        }
        x.q.select(2, at).select(2, 3).fill_(bad);
        CHECK(at::equal(spoiled_rows(x, 0), positions.eq(at)));
        CHECK(blocked(x, 0)[1].select(2, at).isnan().all().item<bool>());
      }
    }
  });
}

TEST_CASE("Blocked attention does not depend on the number of threads") {
  const auto before = at::get_num_threads();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto x = random_tensors({3, 4, 2, 100, 24, 0}, type);
    at::set_num_threads(1);
    const auto one = blocked(x, 0);
    at::set_num_threads(2);
    const auto two = blocked(x, 0);
    for (std::size_t i = 0; i < 4; ++i) CHECK(at::equal(one[i], two[i]));
  }
  at::set_num_threads(before);
}
