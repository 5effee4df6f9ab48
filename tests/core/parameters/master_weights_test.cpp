// Masters of bfloat16 weights in fewer bytes: every bit pattern that matters, and what a store
// makes of them.
#include "core/parameters/master_weights.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>

#include "core/parameters/parameter_store.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

const std::vector<MasterWeights> kSplit = {MasterWeights::lossless_16bit,
                                           MasterWeights::residual_8bit, MasterWeights::kahan,
                                           MasterWeights::stochastic, MasterWeights::none};

const std::string& name_of(MasterWeights format) {
  return master_weights_names()[static_cast<std::size_t>(format)];
}

SplitMaster make_split(MasterWeights format, std::int64_t size) {
  SplitMaster split{at::zeros({size}, at::kBFloat16), {}};
  if (const auto type = residual_type(format)) split.residual = at::zeros({size}, *type);
  return split;
}

at::Tensor joined(MasterWeights format, const SplitMaster& split) {
  const auto x = at::empty({split.weight.numel()}, at::kFloat);
  join_master(format, split, x);
  return x;
}

at::Tensor from_bits(const std::vector<std::uint32_t>& bits) {
  auto x = at::empty({std::ssize(bits)}, at::kFloat);
  std::memcpy(x.data_ptr(), bits.data(), bits.size() * sizeof(std::uint32_t));
  return x;
}

at::Tensor bits_of(const at::Tensor& x) { return x.view(at::kInt); }

// Every upper half of a finite float32 with lower halves around zero, ties and ends.
at::Tensor all_upper_halves() {
  std::vector<std::uint32_t> bits;
  for (std::uint32_t upper = 0; upper < (1U << 16); ++upper) {
    if ((upper & 0x7F80U) == 0x7F80U) continue;
    for (const std::uint32_t lower :
         {0U, 1U, 0x7FU, 0x80U, 0x81U, 0x1234U, 0x7F7FU, 0x7F80U, 0x7FFFU, 0x8000U, 0x8001U,
          0x807FU, 0x8080U, 0xEDCBU, 0xFF7FU, 0xFF80U, 0xFFFFU}) {
      // Behind half a step beyond the largest finite bf16 there is none to round to.
      if ((upper & 0x7FFFU) == 0x7F7FU && lower >= 0x8000U) continue;
      bits.push_back((upper << 16) | lower);
    }
  }
  return from_bits(bits);
}

// All mantissas of [1, 2) and (-2, -1].
at::Tensor all_mantissas(bool negative) {
  const auto first = std::int64_t{0x3F800000} - (negative ? std::int64_t{1} << 31 : 0);
  return (at::arange(std::int64_t{1} << 23, at::kInt) + first).view(at::kFloat);
}

}  // namespace

TEST_CASE("Masters: 16 bits beside a bf16 weight keep every bit of every float32") {
  for (const auto& x : {all_upper_halves(), all_mantissas(false), all_mantissas(true)}) {
    const auto split = make_split(MasterWeights::lossless_16bit, x.numel());
    split_master(MasterWeights::lossless_16bit, x, split, 0);
    CHECK(at::equal(bits_of(joined(MasterWeights::lossless_16bit, split)), bits_of(x)));
    // The weight is one of the two nearest: half a step away at most, 2^-8 of a normal number.
    const auto apart = (split.weight.to(at::kDouble) - x.to(at::kDouble)).abs();
    const auto normal = x.abs().ge(0x1p-126);
    CHECK((apart.le(x.to(at::kDouble).abs() * 0x1p-8))
              .logical_or(normal.logical_not())
              .all()
              .item<bool>());
  }
}

TEST_CASE("Masters: 8 bits beside a bf16 weight keep 16 bits of mantissa") {
  const auto x = all_mantissas(false);
  const auto split = make_split(MasterWeights::residual_8bit, x.numel());
  split_master(MasterWeights::residual_8bit, x, split, 0);
  const auto error =
      ((joined(MasterWeights::residual_8bit, split).to(at::kDouble) - x.to(at::kDouble)) /
       x.to(at::kDouble))
          .abs();
  // Half of 2^-15, and the whole of it where the residual is cut at 127; on average a quarter over
  // the mean of [1, 2), 2^-15 / 4 * log(2) = 5.3e-6.
  CHECK(error.max().item<double>() <= 0x1p-15);
  CHECK(error.mean().item<double>() == Approx(5.3e-6).epsilon(0.02));
}

TEST_CASE("Masters: what was joined splits into what it was joined of") {
  for (const auto format : kSplit) {
    INFO(name_of(format));
    for (const auto& x : {all_upper_halves(), all_mantissas(true)}) {
      const auto once = make_split(format, x.numel()), again = make_split(format, x.numel());
      split_master(format, x, once, 7);
      const auto y = joined(format, once);
      split_master(format, y, again, 8);
      CHECK(at::equal(once.weight.view(at::kShort), again.weight.view(at::kShort)));
      CHECK(at::equal(bits_of(joined(format, again)), bits_of(y)));
    }
  }
}

TEST_CASE("Masters: a compensation keeps what is too small for the weight") {
  // 1000 steps of 2^-14 from 1, each a 64th of the step of bf16 there.
  const auto grown = [](MasterWeights format) {
    const auto split = make_split(format, 512);
    auto x = at::ones({512});
    split_master(format, x, split, 0);
    for (std::uint64_t step = 1; step <= 1000; ++step) {
      join_master(format, split, x);
      x += 0x1p-14F;
      split_master(format, x, split, step);
    }
    return joined(format, split).mean().item<double>();
  };
  const double exact = 1.0 + 1000 * 0x1p-14;
  CHECK(grown(MasterWeights::lossless_16bit) == exact);
  CHECK(grown(MasterWeights::kahan) == Approx(exact).epsilon(1e-3));
  CHECK(grown(MasterWeights::residual_8bit) == Approx(exact).epsilon(1e-3));
  // Of 512 means of 1000 random roundings: five standard errors are 0.05 / sqrt(512) * 5.
  CHECK(grown(MasterWeights::stochastic) == Approx(exact).margin(0.012));
  CHECK(grown(MasterWeights::none) == 1.0);
}

TEST_CASE("Masters: infinities and not-a-numbers are seen in the weight") {
  const float inf = std::numeric_limits<float>::infinity();
  const auto x =
      at::tensor({inf, -inf, std::nanf(""), from_bits({0x7F800001U}).item<float>(), 1.0F});
  for (const auto format : kSplit) {
    INFO(name_of(format));
    const auto split = make_split(format, 5);
    split_master(format, x, split, 3);
    const auto w = split.weight.to(at::kFloat);
    CHECK(w[0].item<float>() == inf);
    CHECK(w[1].item<float>() == -inf);
    CHECK(std::isnan(w[2].item<float>()));
    CHECK(std::isnan(w[3].item<float>()));
    CHECK(w[4].item<float>() == 1.0F);
  }
}

TEST_CASE("Masters: a store with split masters gives, takes and updates them") {
  Parameter matrix, vector, gain;
  matrix.name = "a";
  matrix.shape = {30, 7};
  vector.name = "b";
  vector.shape = {11};
  gain.name = "g";
  gain.shape = {5};
  gain.role = ParameterRole::norm;
  const ParameterLayout layout({matrix, gain, vector});
  for (const auto format : kSplit) {
    INFO(name_of(format));
    ParameterStore store(layout, at::kCPU, at::kFloat,
                         MixedPrecision{{ParameterRole::norm}, {}, format});
    CHECK(store.splits_masters());
    CHECK_THROWS_AS(store.parameters(), InvariantError);
    const auto residual = residual_type(format);
    const auto beside = residual ? std::int64_t(c10::elementSize(*residual)) : 0;
    // Of 221 split elements, and float32 for the largest of them.
    CHECK(store.master_bytes() == 221 * beside + 4 * 210);
    CHECK(store.compute_bytes() == 221 * 2 + 5 * 4);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto value = formula_values(int(i) + 1, layout.parameters()[i].size())
                             .to(at::kFloat)
                             .view(layout.parameters()[i].shape);
      store.set_master(i, value);
      const auto kept = store.master(i).clone();
      CHECK(kept.sizes() == value.sizes());
      // bf16 without anything beside it is off by 2^-9 of a value at most.
      CHECK((kept - value).abs().le(value.abs() * 0x1p-8).all().item<bool>());
      CHECK(store.tensors()[i]
                .detach()
                .to(at::kFloat)
                .equal(i == 1 ? value : store.tensors()[i].detach().to(at::kFloat)));
      const auto opened = store.open_master(i);
      CHECK(opened.equal(kept));
      opened.add_(1.0);
      store.publish(i, 5);
      // A step of bf16 is 2^-7 of a value at most.
      const auto step = (kept.abs() + 1.0) * 0x1p-7;
      CHECK((store.master(i) - kept - 1.0).abs().le(step).all().item<bool>());
      CHECK((store.tensors()[i].detach().to(at::kFloat) - kept - 1.0)
                .abs()
                .le(step)
                .all()
                .item<bool>());
    }
  }
}

TEST_CASE("Masters: what is beside the weights may be in a file, with the same bits") {
  const TemporaryFolder folder;
  std::vector<Parameter> parameters(6);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].name = "w" + std::to_string(i);
    parameters[i].shape = {512, 512 + 16 * std::int64_t(i)};
    parameters[i].initialization = {Initialization::Kind::normal, 0.1};
  }
  const ParameterLayout layout(parameters);
  constexpr std::int64_t kBound = std::int64_t{1} << 20;
  for (const auto format : kSplit) {
    INFO(name_of(format));
    MixedPrecision in_memory{{}, {}, format}, paged = in_memory;
    paged.paging = {kBound, folder.path()};
    if (!residual_type(format)) {
      CHECK_THAT(input_error([&] { ParameterStore(layout, at::kCPU, at::kFloat, paged); }),
                 Contains("trainer.master_resident_mb") && Contains(name_of(format)));
      continue;
    }
    if (format != MasterWeights::residual_8bit) paged.paging.resident_bytes = 2 * kBound;
    ParameterStore a(layout, at::kCPU, at::kFloat, in_memory);
    ParameterStore b(layout, at::kCPU, at::kFloat, paged);
    REQUIRE(b.pages() != nullptr);
    CHECK(a.pages() == nullptr);
    CHECK(a.master_bytes() == b.master_bytes() + b.paged_master_bytes());
    for (auto* store : {&a, &b}) {
      store->initialize(3);
      for (std::uint64_t step = 0; step < 3; ++step) {
        for (std::size_t i = parameters.size(); i-- > 0;) {
          store->open_master(i).mul_(1.0 + 0x1p-12).add_(0x1p-14);
          store->publish(i, step);
        }
      }
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      CHECK(a.tensors()[i].equal(b.tensors()[i]));
      CHECK(a.master(i).equal(b.master(i)));
    }
    CHECK(b.pages()->report().bytes_read > 0);
    b.evict();
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}
