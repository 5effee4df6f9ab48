// State in fewer bytes: the codes, value by value, and what a rule makes of them.
#include "optimizers/state/state_codec.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "optimizers/kernels/state_codes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Stored = std::vector<at::Tensor>;

Stored make_stored(const StateCodec& codec, std::int64_t size) {
  Stored stored;
  for (const auto& part : codec.parts(size)) stored.push_back(at::zeros({part.size}, part.type));
  return stored;
}

at::Tensor decoded(const StateCodec& codec, const Stored& stored, std::int64_t size) {
  const auto values = at::empty({size}, at::kFloat);
  codec.decode(stored, values);
  return values;
}

at::Tensor round_trip(const StateCodec& codec, const at::Tensor& values, std::uint64_t seed = 1) {
  const auto stored = make_stored(codec, values.numel());
  codec.encode(values, stored, seed);
  return decoded(codec, stored, values.numel());
}

// Every value that a codec with one byte per code can give at the scale 1.
std::vector<float> code_values(const std::string& name, StateUse use) {
  const auto codec = make_state_codec(name, use);
  auto stored = make_stored(*codec, 256);
  stored[0].copy_(at::arange(256));
  stored[1].fill_(1.0);
  const auto values = decoded(*codec, stored, 256);
  return {values.data_ptr<float>(), values.data_ptr<float>() + 256};
}

// Normal values with a spread of sizes within a block: what moments look like.
at::Tensor moments(std::int64_t size, StateUse use, double scale) {
  auto values = formula_values(3, size).to(at::kDouble);
  values = values * at::exp2(-at::arange(size, at::kDouble).remainder(7)) * scale;
  if (use == StateUse::non_negative) values = values.square();
  return values.to(at::kFloat);
}

double relative_error(const at::Tensor& x, const at::Tensor& exact) {
  const auto e = exact.to(at::kDouble);
  return ((x.to(at::kDouble) - e).norm() / e.norm()).item<double>();
}

const std::vector<std::string> kCodecs = {"bf16", "dynamic_8bit", "companded_8bit", "dynamic_4bit"};
const std::vector<StateUse> kUses = {StateUse::average, StateUse::non_negative};

template <typename Check>
void for_every_codec(Check check) {
  for (const auto& name : kCodecs) {
    for (const auto use : kUses) {
      INFO(name << (use == StateUse::average ? ", first moments" : ", second moments"));
      check(name, use, *make_state_codec(name, use));
    }
  }
}

}  // namespace

TEST_CASE("The dynamic maps have the published ends and smallest values") {
  const auto with_sign = code_values("dynamic_8bit", StateUse::average);
  CHECK(with_sign.front() == Approx(-0.99297).epsilon(1e-5));
  CHECK(with_sign.back() == 1.0F);
  CHECK(with_sign[127] == 0.0F);
  CHECK(with_sign[128] == Approx(5.5e-7).epsilon(1e-6));
  const auto without = code_values("dynamic_8bit", StateUse::non_negative);
  CHECK(without[0] == 0.0F);
  CHECK(without[1] == Approx(3.25e-7).epsilon(1e-6));
  CHECK(without.back() == 1.0F);
  for (const auto& values : {with_sign, without}) {
    for (std::size_t i = 1; i < values.size(); ++i) CHECK(values[i - 1] < values[i]);
  }
}

TEST_CASE("A code is that of the nearest value, also beside every midpoint") {
  const auto values = code_values("dynamic_8bit", StateUse::average);
  const kernels::CodeTable table(values, kernels::CodeTable::Zero::plain);
  const auto nearest_distance = [&](float x) {
    double least = HUGE_VAL;
    for (const auto value : values) least = std::min(least, std::abs(double{value} - double{x}));
    return least;
  };
  std::vector<float> tried = {-1.0F, 1.0F, 0.0F, -0.0F, 1e-30F, -1e-30F, 1.0000001F};
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = 0.5F * (values[i] + values[i + 1]);
    for (const float x : {std::nextafter(middle, -2.0F), middle, std::nextafter(middle, 2.0F)}) {
      tried.push_back(x);
    }
  }
  const auto random = formula_values(7, 4000);
  for (std::int64_t i = 0; i < random.numel(); ++i) {
    tried.push_back(random[i].item<float>() * std::exp2(-static_cast<float>(i % 23)));
  }
  for (const auto x : tried) {
    if (std::abs(x) > 1.0F) continue;
    const double distance = std::abs(double{table.value(table.code(x))} - double{x});
    // The midpoint is rounded to float32, which moves it by 2^-24 of its size at most.
    REQUIRE(distance <= nearest_distance(x) + 1.2e-7 * std::abs(double{x}));
  }
}

TEST_CASE("Values come back within the codec's step, at every size of gradients") {
  // Relative L2 errors: half a step of the map over what the blocks hold. bf16 has 8 bits; of 4
  // bits the smallest second moment is a 16th of the block's largest.
  const std::map<std::string, double> bound = {
      {"bf16", 4e-3}, {"dynamic_8bit", 1.2e-2}, {"companded_8bit", 1.2e-2}, {"dynamic_4bit", 0.3}};
  for_every_codec([&](const std::string& name, StateUse use, const StateCodec& codec) {
    for (const double scale : {1e-10, 1e-6, 1.0, 1e4}) {
      INFO("scale " << scale);
      const auto exact = moments(5000, use, scale);
      CHECK(relative_error(round_trip(codec, exact), exact) < bound.at(name));
    }
  });
}

TEST_CASE("Zeros stay zero and a second moment above 0 never becomes 0") {
  for_every_codec([](const std::string&, StateUse use, const StateCodec& codec) {
    const auto zeros = at::zeros({777});
    CHECK(at::equal(round_trip(codec, zeros), zeros));
    CHECK(at::equal(decoded(codec, make_stored(codec, 777), 777), zeros));
    if (use != StateUse::non_negative) return;
    auto values = at::zeros({512});
    values[0] = 1.0;
    values.narrow(0, 1, 255).fill_(1e-30);
    const auto kept = round_trip(codec, values);
    CHECK(kept.narrow(0, 0, 256).gt(0).all().item<bool>());
    CHECK(kept.narrow(0, 256, 256).eq(0).all().item<bool>());
  });
}

TEST_CASE("A short last block is coded as well as the others") {
  for_every_codec([](const std::string&, StateUse use, const StateCodec& codec) {
    for (const std::int64_t size : {1, 2, 31, 33, 127, 129, 255, 257, 16385, 33000}) {
      INFO(size);
      const auto exact = moments(size, use, 1e-3);
      // Half of the widest gap, 0.225 in the 4-bit map, of the largest value.
      const double worst = (round_trip(codec, exact) - exact).abs().max().item<double>();
      CHECK(worst <= 0.1126 * exact.abs().max().item<double>());
    }
  });
}

TEST_CASE("Coding what was decoded changes nothing") {
  for_every_codec([](const std::string& name, StateUse use, const StateCodec& codec) {
    // A companded block keeps its largest value only to the code, and with it the scale.
    if (name == "companded_8bit") return;
    auto values = moments(3000, use, 1.0);
    if (use == StateUse::average) values[7] = -9.0;  // the largest of a block, of either sign
    const auto once = round_trip(codec, values);
    if (use == StateUse::average) CHECK(once[7].item<float>() == Approx(-9.0).epsilon(0.004));
    CHECK(relative_error(round_trip(codec, once), once) < 1e-6);
  });
}

TEST_CASE(
    "bf16: every value that it has stays, the others go to a neighbour, and their mean is x") {
  const auto codec = make_state_codec("bf16", StateUse::average);
  std::vector<float> all;
  for (std::uint32_t bits = 0; bits < (1U << 16); ++bits) {
    const auto value = std::bit_cast<float>(bits << 16);
    if (std::isfinite(value)) all.push_back(value);
  }
  const auto exact = at::tensor(all);
  CHECK(at::equal(round_trip(*codec, exact), exact));
  // 1 + 2^-10 lies an eighth of the way from 1 to 1 + 2^-7.
  constexpr std::int64_t kDraws = 40'000;
  const auto between = at::full({kDraws}, 1.0 + 0x1p-10);
  const auto kept = round_trip(*codec, between, 5);
  const auto up = kept.eq(1.0 + 0x1p-7), down = kept.eq(1.0);
  CHECK(up.logical_or(down).all().item<bool>());
  const double share = up.to(at::kDouble).mean().item<double>();
  // Five standard errors of a share of 1/8 among 40,000: 0.0083.
  CHECK(share == Approx(0.125).margin(0.0083));
  CHECK(at::equal(kept, round_trip(*codec, between, 5)));
  CHECK_FALSE(at::equal(kept, round_trip(*codec, between, 6)));
}

TEST_CASE("No codec drifts to one side from an average of zero") {
  // An average with the memory 0.9 of +1 and -1 in turn, coded at every step.
  for (const auto& name : kCodecs) {
    INFO(name);
    const auto codec = make_state_codec(name, StateUse::average);
    const auto start = formula_values(11, 2048).to(at::kFloat) * 1e-3;
    auto exact = start.clone(), kept = start.clone();
    for (int step = 0; step < 400; ++step) {
      const auto g = start * (step % 2 == 0 ? 1.0 : -1.0);
      exact = 0.9 * exact + 0.1 * g;
      kept = round_trip(*codec, 0.9 * kept + 0.1 * g, static_cast<std::uint64_t>(step));
    }
    // The mean error, in units of a value: a hundredth of the values' own spread.
    const double drift = ((kept - exact).mean() / exact.abs().mean()).item<double>();
    CHECK(std::abs(drift) < 0.02);
  }
}

TEST_CASE("Only moments have codecs") {
  for (const auto use : {StateUse::basis, StateUse::accumulator, StateUse::index}) {
    for (const auto& name : kCodecs) CHECK(make_state_codec(name, use) == nullptr);
  }
  CHECK(make_state_codec("fp32", StateUse::average) == nullptr);
  CHECK_THAT(input_error([] { make_state_codec("int3", StateUse::average); }), Contains("'int3'"));
}
