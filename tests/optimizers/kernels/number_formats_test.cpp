// Numbers in fewer bits by the CUDA kernels' own source, on fibers (fibers/thread_block.hpp),
// against what the CPU's codecs and masters make of the same numbers: every byte.
#include "core/kernels/device/number_formats.hpp"

#include <ATen/ATen.h>

#include <cstring>
#include <set>

#include "core/parameters/master_weights.hpp"
#include "optimizers/state/state_codec.hpp"
#include "tests/optimizers/kernels/fibers/thread_block.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"

namespace blockwise {

// The source as it is, and with planted faults.
const NumberConverter& fiber_numbers();
const NumberConverter& half_block_numbers();
const NumberConverter& lost_last_numbers();

}  // namespace blockwise

using namespace blockwise;
using namespace blockwise::testing;

namespace {

using Converter = const NumberConverter&();

// Around every width of a warp, a block of codes and a block of threads.
const std::vector<std::int64_t> kSizes = {1,    2,    3,    31,   32,   33,   127,
                                          128,  129,  255,  256,  257,  511,  513,
                                          2047, 2049, 8191, 8192, 8193, 8449, 20000};

// Of every size from 1e-30 to 1, signs mixed; zeros, a block of zeros, and one of subnormals.
at::Tensor numbers(std::int64_t n, bool is_signed) {
  auto x = formula_values(int(n % 97) + 1, n).to(at::kDouble);
  x = x * at::exp2(-at::arange(n, at::kDouble).remainder(13) * 7);
  if (!is_signed) x = x.square();
  if (n > 3) x[3] = 0.0;
  if (n > 512) x.narrow(0, 256, 128).zero_();
  if (n > 1024) x.narrow(0, 512, 256) *= 1e-38;
  return x.to(at::kFloat);
}

std::vector<at::Tensor> make_stored(const StateCodec& codec, std::int64_t n) {
  std::vector<at::Tensor> stored;
  for (const auto& part : codec.parts(n)) {
    // A byte behind the last one shows what is written there.
    auto bytes =
        at::full({part.size * std::int64_t(c10::elementSize(part.type)) + 1}, 0x5a, at::kByte);
    stored.push_back(std::move(bytes));
  }
  return stored;
}

// The same bytes as tensors of the codec's types.
std::vector<at::Tensor> typed(const std::vector<at::Tensor>& bytes, const StateCodec& codec,
                              std::int64_t n) {
  std::vector<at::Tensor> stored;
  const auto parts = codec.parts(n);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    stored.push_back(at::from_blob(bytes[k].data_ptr(), {parts[k].size},
                                   at::TensorOptions().dtype(parts[k].type)));
  }
  return stored;
}

StoredNumbers pointers(const std::vector<at::Tensor>& stored) {
  return {stored[0].data_ptr(), stored.size() > 1 ? stored[1].data_ptr() : nullptr};
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// Sizes of which some byte of the stored or of the decoded form is another one.
std::vector<std::int64_t> wrong_sizes(const StateCodec& codec, bool is_signed, Converter& make) {
  std::vector<std::int64_t> wrong;
  for (const auto n : kSizes) {
    const auto x = numbers(n, is_signed);
    const auto expected = make_stored(codec, n), found = make_stored(codec, n);
    codec.encode(x, typed(expected, codec, n), 9);
    const auto& format = *codec.device_format();
    make().encode(format, x.data_ptr<float>(), n, pointers(found), 9, nullptr);
    auto value = at::full({n + 1}, 7.0F), found_value = at::full({n + 1}, 7.0F);
    codec.decode(typed(expected, codec, n), value.narrow(0, 0, n));
    make().decode(format, pointers(expected), n, found_value.data_ptr<float>(), nullptr);
    bool same = same_bytes(value, found_value);
    for (std::size_t k = 0; k < found.size(); ++k) same = same && same_bytes(found[k], expected[k]);
    if (!same) wrong.push_back(n);
  }
  return wrong;
}

template <typename Check>
void for_codecs_of_devices(const Check& check) {
  for (const auto& entry : state_codecs()) {
    const auto spec = entry.make();
    for (const auto use : spec->moments) {
      const auto codec = make_state_codec(spec->name, {"state", {1}, use});
      if (codec->device_format() == nullptr) continue;
      INFO(spec->name << (use == StateUse::average ? ", first moments" : ", second moments"));
      check(spec->name, *codec, use == StateUse::average);
    }
  }
}

NumberFormat format_of(MasterWeights format) { return {device_format(format)}; }

// Every upper half of a float32, numbers or not, with lower halves around zero, ties and ends.
at::Tensor every_upper_half() {
  std::vector<std::int32_t> bits;
  for (std::uint32_t upper = 0; upper < (1U << 16); ++upper) {
    for (const std::uint32_t lower : {0U, 1U, 0x7FFFU, 0x8000U, 0x8001U, 0xFF80U, 0xFFFFU}) {
      bits.push_back(std::int32_t((upper << 16) | lower));
    }
  }
  return at::tensor(bits, at::kInt).view(at::kFloat);
}

}  // namespace

TEST_CASE("number formats: codes, scales and values have the bits of the CPU's codecs") {
  std::set<std::string> names;
  for_codecs_of_devices([&](const std::string& name, const StateCodec& codec, bool is_signed) {
    names.insert(name);
    CHECK(wrong_sizes(codec, is_signed, fiber_numbers) == std::vector<std::int64_t>());
  });
  // Of the last one vectors, which it codes as dynamic_4bit.
  CHECK(names == std::set<std::string>{"bf16", "companded_8bit", "dynamic_4bit", "dynamic_8bit",
                                       "fp8", "rank1_4bit"});
}

TEST_CASE("number formats: codes beside every threshold") {
  for_codecs_of_devices([&](const std::string&, const StateCodec& codec, bool) {
    std::vector<float> near = {1.0F};
    for (const float threshold : codec.device_format()->thresholds) {
      if (!std::isfinite(threshold) || std::abs(threshold) > 1.0F) continue;
      for (const float x :
           {std::nextafter(threshold, -2.0F), threshold, std::nextafter(threshold, 2.0F)}) {
        if (near.size() % 128 == 0) near.push_back(1.0F);  // the largest of its block
        near.push_back(std::abs(x) > 1.0F ? 0.0F : x);
      }
    }
    const auto n = std::ssize(near);
    const auto x = at::tensor(near);
    const auto expected = make_stored(codec, n), found = make_stored(codec, n);
    codec.encode(x, typed(expected, codec, n), 3);
    fiber_numbers().encode(*codec.device_format(), x.data_ptr<float>(), n, pointers(found), 3,
                           nullptr);
    CHECK(same_bytes(found[0], expected[0]));
  });
}

TEST_CASE("number formats: masters and their weights have the bits of the CPU's") {
  const auto x = every_upper_half();
  const auto n = x.numel();
  for (const auto format : {MasterWeights::lossless_16bit, MasterWeights::residual_8bit,
                            MasterWeights::kahan, MasterWeights::stochastic, MasterWeights::none}) {
    INFO(master_weights_names()[std::size_t(format)]);
    const auto make = [&] {
      SplitMaster split{at::zeros({n}, at::kBFloat16), {}};
      if (const auto type = residual_type(format)) split.residual = at::zeros({n}, *type);
      return split;
    };
    const auto expected = make(), found = make();
    split_master(format, x, expected, 5);
    const StoredNumbers stored{found.weight.data_ptr(),
                               found.residual.defined() ? found.residual.data_ptr() : nullptr};
    fiber_numbers().encode(format_of(format), x.data_ptr<float>(), n, stored, 5, nullptr);
    CHECK(same_bytes(found.weight, expected.weight));
    if (found.residual.defined()) CHECK(same_bytes(found.residual, expected.residual));
    const auto value = at::empty({n}), found_value = at::empty({n});
    join_master(format, expected, value);
    fiber_numbers().decode(format_of(format), stored, n, found_value.data_ptr<float>(), nullptr);
    CHECK(same_bytes(found_value, value));
  }
}

TEST_CASE("number formats: the order of a block's threads changes no byte") {
  for (const auto order : {fibers::Order::descending, fibers::Order::shuffled}) {
    fibers::set_order(order);
    for_codecs_of_devices([&](const std::string&, const StateCodec& codec, bool is_signed) {
      CHECK(wrong_sizes(codec, is_signed, fiber_numbers) == std::vector<std::int64_t>());
    });
    fibers::set_order(fibers::Order::ascending);
  }
}

TEST_CASE("number formats: planted faults are found") {
  const auto codec = make_state_codec("dynamic_8bit", {"state", {1}, StateUse::average});
  CHECK_FALSE(wrong_sizes(*codec, true, half_block_numbers).empty());
  CHECK_FALSE(wrong_sizes(*codec, true, lost_last_numbers).empty());
  fibers::forget_barrier_lines();
  CHECK(wrong_sizes(*codec, true, fiber_numbers).empty());
  const auto barriers = fibers::barrier_lines();
  CHECK(barriers.size() == 1);  // behind the table of a decoder or of an encoder
  for (const int line : barriers) {
    INFO("the barrier of line " << line);
    fibers::skip_barrier(line);
    CHECK_FALSE(wrong_sizes(*codec, true, fiber_numbers).empty());
    fibers::skip_barrier(0);
  }
}
