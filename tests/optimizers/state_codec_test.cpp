// State in fewer bytes: the codes, value by value, and what a rule makes of them.
#include "optimizers/state/state_codec.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "optimizers/kernels/state_codes.hpp"
#include "optimizers/state/codecs/code_operations.hpp"
#include "optimizers/state/codecs/code_table_maps.hpp"
#include "optimizers/state/codecs/codebook.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Stored = std::vector<at::Tensor>;

std::shared_ptr<const StateCodec> codec_of(const std::string& name, StateUse use,
                                           std::vector<std::int64_t> shape = {1}) {
  return make_state_codec(name, {"state", std::move(shape), use});
}

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
  const auto codec = codec_of(name, use);
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

// Of vectors; matrices with scales of rows and columns have a test of their own.
template <typename Check>
void for_every_codec(Check check) {
  for (const auto& entry : state_codecs()) {
    const auto codec = entry.make();
    for (const auto use : codec->moments) {
      INFO(entry.name << (use == StateUse::average ? ", first moments" : ", second moments"));
      check(entry.name, use, *codec_of(entry.name, use));
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
  // bits the smallest second moment is a 16th of the block's largest. fp8 has 4 bits, the hidden
  // one among them: at most 2^-4, on average less than half of it.
  const std::map<std::string, double> bound = {
      {"bf16", 4e-3}, {"dynamic_8bit", 1.2e-2},  {"companded_8bit", 1.2e-2}, {"dynamic_4bit", 0.3},
      {"fp8", 0.035}, {"codebook_8bit", 1.2e-2}, {"rank1_4bit", 0.3}};
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
    // A companded block keeps its largest value only to the code, and with it the scale; a codebook
    // is learned from what is coded.
    if (name == "companded_8bit" || name == "codebook_8bit") return;
    auto values = moments(3000, use, 1.0);
    if (use == StateUse::average) values[7] = -9.0;  // the largest of a block, of either sign
    const auto once = round_trip(codec, values);
    if (use == StateUse::average) CHECK(once[7].item<float>() == Approx(-9.0).epsilon(0.004));
    CHECK(relative_error(round_trip(codec, once), once) < 1e-6);
  });
}

TEST_CASE(
    "bf16: every value that it has stays, the others go to a neighbour, and their mean is x") {
  const auto codec = codec_of("bf16", StateUse::average);
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
  for (const auto& name : state_codec_names(StateUse::average)) {
    if (name == "fp32") continue;
    INFO(name);
    const auto codec = codec_of(name, StateUse::average);
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
    for (const auto& entry : state_codecs()) CHECK(codec_of(entry.name, use) == nullptr);
  }
  CHECK(codec_of("fp32", StateUse::average) == nullptr);
  CHECK(codec_of("codebook_8bit", StateUse::non_negative) == nullptr);
  CHECK(codec_of("rank1_4bit", StateUse::average) == nullptr);
  CHECK_THAT(input_error([] { codec_of("int3", StateUse::average); }), Contains("'int3'"));
}

TEST_CASE("float8_e4m3fn: every code and every float32 near one are those of LibTorch") {
  std::vector<float> tried;
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7F) == 0x7F) continue;  // not a number
    const auto code = static_cast<std::uint8_t>(bits);
    const auto theirs =
        at::full({1}, bits, at::kByte).view(at::kFloat8_e4m3fn).to(at::kFloat).item<float>();
    CHECK(kernels::from_fp8(code) == theirs);
    if (bits != 0x80) CHECK(kernels::to_fp8(theirs) == code);
    tried.push_back(theirs);
  }
  std::ranges::sort(tried);
  const auto values = tried;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = 0.5F * (values[i] + values[i + 1]);
    for (const float x : {std::nextafter(middle, -500.0F), middle, std::nextafter(middle, 500.0F),
                          std::nextafter(values[i], 500.0F)}) {
      tried.push_back(x);
    }
  }
  // Every exponent with 4096 mantissas.
  for (int exponent = -30; exponent <= 8; ++exponent) {
    for (int k = 0; k < 4096; ++k) {
      const float x = std::ldexp(1.0F + static_cast<float>(k) / 4096.0F, exponent);
      if (x <= kernels::kLargestFp8) tried.insert(tried.end(), {x, -x});
    }
  }
  const auto codes = at::tensor(tried).to(at::kFloat8_e4m3fn).view(at::kByte);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < tried.size(); ++i) {
    const auto theirs = codes[static_cast<std::int64_t>(i)].item<std::uint8_t>();
    if (kernels::to_fp8(tried[i]) != theirs) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("Scales of rows and columns: a large value spoils neither its row nor its column") {
  const std::vector<std::int64_t> shape{60, 401};
  const auto codec = codec_of("rank1_4bit", StateUse::non_negative, shape);
  CHECK_FALSE(codec->codes_pieces());
  auto exact = moments(60 * 401, StateUse::average, 1.0).abs().clamp_min(0.2).view(shape);
  exact.select(0, 7).mul_(1e4);
  exact[20][300] *= 1e5;
  exact.select(0, 11).zero_();
  const auto stored = make_stored(*codec, exact.numel());
  codec->encode(exact.flatten(), stored, 0);
  CHECK(at::equal(stored[1], exact.amax(1)));
  CHECK(at::equal(stored[2], exact.amax(0)));
  const auto kept = decoded(*codec, stored, exact.numel()).view(shape);
  const auto scale = at::minimum(exact.amax(1, true), exact.amax(0, true));
  // The nearest of 16 equal steps; what is below the first of them becomes it.
  CHECK((kept - exact).abs().le(scale / 16.0).all().item<bool>());
  CHECK(kept.select(0, 11).eq(0).all().item<bool>());
  CHECK(kept.gt(0).eq(exact.gt(0)).all().item<bool>());
  // Row 7 and the one large element leave the others' scales what they are.
  const auto row = exact.select(0, 8);
  CHECK((kept.select(0, 8) - row).abs().max().item<double>() <= row.max().item<double>() / 16.0);
  CHECK(relative_error(round_trip(*codec, kept.flatten()), kept.flatten()) < 1e-6);
}

// Of both ways to code the same values: all stored parts, and what is read back of them.
std::vector<bool> same_parts(const Stored& kernels, const Stored& operations) {
  std::vector<bool> same;
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    same.push_back(at::equal(kernels[k], operations[k]));
  }
  return same;
}

// With zeros, a block of zeros and subnormal ones.
at::Tensor awkward_values(std::int64_t size, StateUse use) {
  auto values = moments(size, use, 1.0);
  if (size > 700) {
    values.narrow(0, 256, 256).zero_();
    values.narrow(0, 512, 128).mul_(1e-39);
  }
  if (size > 5) values[5] = 0.0;
  return values;
}

TEST_CASE("Codes by operations: a codebook has the bits of the kernels") {
  const auto codec = codec_of("codebook_8bit", StateUse::average);
  CHECK(codec->has_operations());
  for (const std::int64_t size : {1, 2, 255, 256, 257, 3000, 20000}) {
    INFO(size);
    const auto values = awkward_values(size, StateUse::average);
    auto by_kernels = make_stored(*codec, size), by_operations = make_stored(*codec, size);
    codec->encode(values, by_kernels, 0);
    by_operations[2].copy_(by_kernels[2]);  // the codebook
    encode_codebook(values, 256, by_operations);
    CHECK(same_parts(by_kernels, by_operations) == std::vector<bool>(3, true));
    const auto read = at::empty({size}, at::kFloat);
    decode_codebook(by_operations, 256, read);
    CHECK(at::equal(read, decoded(*codec, by_kernels, size)));
    // Beside every threshold.
    const auto book = by_kernels[2];
    const auto middle = (book.narrow(0, 0, 255) + book.narrow(0, 1, 255)) * 0.5;
    const auto near = at::cat({at::nextafter(middle, at::full({1}, -2.0F)), middle,
                               at::nextafter(middle, at::full({1}, 2.0F)), at::ones({1})})
                          .contiguous();
    auto first = make_stored(*codec, near.numel()), second = make_stored(*codec, near.numel());
    first[2].copy_(book);
    second[2].copy_(book);
    if (book[254].item<float>() == 1.0F) continue;  // it would learn again
    codec->encode(near, first, 0);
    encode_codebook(near, 256, second);
    CHECK(same_parts(first, second) == std::vector<bool>(3, true));
  }
}

TEST_CASE("Codes by operations: scales of rows and columns have the bits of the kernels") {
  const kernels::CodeTable table(linear_4bit_map(), kernels::CodeTable::Zero::for_zero_only);
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{1, 1}, {1, 7}, {7, 1}, {3, 5}, {2, 33}, {64, 128}, {65, 401}}) {
    INFO(shape[0] << " x " << shape[1]);
    const auto codec = codec_of("rank1_4bit", StateUse::non_negative, shape);
    CHECK(codec->has_operations());
    const auto size = shape[0] * shape[1];
    auto values = awkward_values(size, StateUse::non_negative).view(shape).contiguous();
    if (shape[0] > 3) values.select(0, 2).zero_();
    if (shape[1] > 3) values.select(1, 3).mul_(1e-39);
    if (shape[1] == 33) {  // on every threshold, of rows and columns whose largest is 1
      values.select(0, 0).fill_(1.0);
      values.select(0, 1).copy_(at::arange(33, at::kFloat) / 32.0);
    }
    auto by_kernels = make_stored(*codec, size), by_operations = make_stored(*codec, size);
    codec->encode(values.flatten(), by_kernels, 0);
    encode_rank1(table, values, by_operations);
    CHECK(same_parts(by_kernels, by_operations) == std::vector<bool>(3, true));
    const auto read = at::empty(shape, at::kFloat);
    decode_rank1(table, by_operations, read);
    CHECK(at::equal(read.flatten(), decoded(*codec, by_kernels, size)));
  }
}

// All ways to cut points into k groups of neighbours.
double least_cost(const WeightedPoints& points, std::size_t begin, std::int64_t k) {
  const auto n = points.x.size();
  if (k == 1) {
    double w = 0.0, s = 0.0, cost = 0.0;
    for (auto i = begin; i < n; ++i) {
      w += points.weight[i];
      s += points.weight[i] * points.x[i];
    }
    for (auto i = begin; i < n; ++i) {
      cost += points.weight[i] * (points.x[i] - s / w) * (points.x[i] - s / w);
    }
    return cost;
  }
  double least = HUGE_VAL;
  for (auto end = begin + 1; end + static_cast<std::size_t>(k) - 1 <= n; ++end) {
    WeightedPoints first{
        {points.x.begin() + std::ptrdiff_t(begin), points.x.begin() + std::ptrdiff_t(end)},
        {points.weight.begin() + std::ptrdiff_t(begin),
         points.weight.begin() + std::ptrdiff_t(end)}};
    least = std::min(least, least_cost(first, 0, 1) + least_cost(points, end, k - 1));
  }
  return least;
}

TEST_CASE("The centres of a codebook have the least cost of all groupings") {
  WeightedPoints points;
  const auto x = formula_values(5, 11), w = formula_values(6, 11).abs() + 0.1;
  const auto sorted = std::get<0>(x.to(at::kDouble).sort());
  for (std::int64_t i = 0; i < 11; ++i) {
    points.x.push_back(sorted[i].item<double>());
    points.weight.push_back(w[i].item<double>());
  }
  for (std::int64_t k = 1; k <= 11; ++k) {
    INFO(k);
    const auto centres = best_centres(points, k);
    REQUIRE(std::ssize(centres) == k);
    double cost = 0.0;
    for (std::size_t i = 0; i < points.x.size(); ++i) {
      double nearest = HUGE_VAL;
      for (const auto c : centres) nearest = std::min(nearest, std::abs(points.x[i] - c));
      cost += points.weight[i] * nearest * nearest;
    }
    // Of sums of eleven terms in double.
    CHECK(cost == Approx(least_cost(points, 0, k)).margin(1e-12));
  }
}

TEST_CASE("A codebook is learned once, at the first values that are not zero") {
  const auto codec = codec_of("codebook_8bit", StateUse::average);
  const auto stored = make_stored(*codec, 3000);
  codec->encode(at::zeros({3000}), stored, 0);
  CHECK(stored[2].eq(0).all().item<bool>());
  codec->encode(moments(3000, StateUse::average, 1e-5), stored, 0);
  const auto learned = stored[2].clone();
  CHECK(learned[0].item<float>() == -1.0F);
  CHECK(learned[255].item<float>() == 1.0F);
  CHECK(learned.eq(0).any().item<bool>());
  CHECK(learned.diff().ge(0).all().item<bool>());
  codec->encode(at::ones({3000}), stored, 0);
  CHECK(at::equal(stored[2], learned));
  CHECK(decoded(*codec, stored, 3000).eq(1).all().item<bool>());
}
