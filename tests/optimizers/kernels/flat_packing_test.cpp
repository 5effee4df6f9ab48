// Steps over flat buffers that are in fewer bits, on fibers: the same steps over float32, with
// encoding before and after.
#include "optimizers/kernels/flat_packing.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "optimizers/state/state_codec.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/flat_problem.hpp"

namespace blockwise {

const NumberConverter& fiber_numbers();

}  // namespace blockwise

using namespace blockwise;
using namespace blockwise::testing;
using kernels::FlatRule;
using Moment = FlatSection::Moment;

namespace {

// Little of every structure, and tensors of several windows and runs.
FlatProblem packed_problem() {
  FlatProblem problem;
  add_structures(problem, {{5, 9, 2, 4}, {3, 1031, 2, 500}, {1, 1}});
  problem.add({40, 512, 1, 512}, Moment::tiles);
  problem.add({40, 512, 40, 1}, Moment::tiles);
  problem.add({70, 384, 35, 384}, Moment::factored);
  problem.add({17, 1024}, Moment::elements);
  problem.fill();
  return problem;
}

std::int64_t size_of(const FlatSection& section) { return section.rows * section.columns; }

// Second moments of a section, one section's behind the other's.
std::int64_t value_count(const FlatProblem& p, std::size_t section) {
  const bool is_last = section + 1 == p.sections.size();
  const auto end = is_last ? std::int64_t(p.v.size()) : p.sections[section + 1].value;
  return end - p.sections[section].value;
}

at::Tensor to_tensor(const Floats& x) { return at::tensor(at::ArrayRef<float>(x), at::kFloat); }

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// The buffers of a problem as float32, and its first moments and weights as they are stored.
struct Buffers {
  explicit Buffers(const FlatProblem& p)
      : w(to_tensor(p.w)),
        g(to_tensor(p.g)),
        m(to_tensor(p.m)),
        v(to_tensor(p.v)),
        rates(to_tensor(p.rates)),
        weights(at::zeros(w.sizes(), at::kBFloat16)),
        residuals(at::zeros(w.sizes(), at::kShort)),
        codes(at::zeros(w.sizes(), at::kByte)),
        scales(at::zeros(w.sizes(), at::kFloat)),
        value_codes(at::zeros(v.sizes(), at::kByte)),
        value_scales(at::zeros(v.sizes(), at::kFloat)) {}

  kernels::FlatBuffers view() const {
    const auto data = [](const at::Tensor& x) { return x.data_ptr<float>(); };
    return {data(w), data(g), data(m), data(v), data(rates)};
  }
  // Scales of a tensor begin at its first element's number: places enough, none shared.
  StoredNumbers moments(const FlatSection& s) const {
    return {codes.data_ptr<std::uint8_t>() + s.begin, scales.data_ptr<float>() + s.begin};
  }
  StoredNumbers values(const FlatSection& s) const {
    return {value_codes.data_ptr<std::uint8_t>() + s.value,
            value_scales.data_ptr<float>() + s.value};
  }
  StoredNumbers masters(const FlatSection& s) const {
    return {static_cast<std::uint16_t*>(weights.data_ptr()) + s.begin,
            residuals.data_ptr<std::int16_t>() + s.begin};
  }

  at::Tensor w, g, m, v, rates, weights, residuals, codes, scales, value_codes, value_scales;
};

// Some tensors are float32 in both: every third.
bool is_plain(const FlatSection& s) { return s.tensor % 3 == 1; }

enum class SecondMoments { float32, in_codes };

struct Formats {
  NumberFormat master{NumberFormat::Kind::lossless_master};
  NumberFormat moment =
      *make_state_codec("dynamic_8bit", {"m", {1}, StateUse::average})->device_format();
  NumberFormat value =
      *make_state_codec("dynamic_8bit", {"v", {1}, StateUse::non_negative})->device_format();
  SecondMoments second = SecondMoments::float32;

  // Calls convert(format, stored, float32 numbers, how many) for all that is stored.
  template <class Convert>
  void convert(const FlatProblem& p, const Buffers& x, const Convert& convert) const {
    for (std::size_t i = 0; i < p.sections.size(); ++i) {
      const auto& s = p.sections[i];
      if (is_plain(s)) continue;
      convert(master, x.masters(s), x.w.data_ptr<float>() + s.begin, size_of(s));
      convert(moment, x.moments(s), x.m.data_ptr<float>() + s.begin, size_of(s));
      if (second == SecondMoments::float32 || value_count(p, i) == 0) continue;
      convert(value, x.values(s), x.v.data_ptr<float>() + s.value, value_count(p, i));
    }
  }
  void encode(const FlatProblem& p, const Buffers& x) const {
    convert(p, x, [](const auto& format, const auto& stored, float* numbers, std::int64_t n) {
      fiber_numbers().encode(format, numbers, n, stored, 0, nullptr);
    });
  }
  void decode(const FlatProblem& p, const Buffers& x) const {
    convert(p, x, [](const auto& format, const auto& stored, float* numbers, std::int64_t n) {
      fiber_numbers().decode(format, stored, n, numbers, nullptr);
    });
  }
};

kernels::PackedBuffer pack(const FlatProblem& p, const NumberFormat& format,
                           const std::vector<kernels::FlatWindow>& windows, const at::Tensor& plain,
                           const std::function<StoredNumbers(const FlatSection&)>& stored) {
  std::vector<kernels::PackedTensor> tensors;
  for (const auto& s : p.sections) {
    auto& tensor = tensors.emplace_back();
    tensor.begin = s.begin;
    tensor.size = size_of(s);
    if (is_plain(s)) {
      tensor.plain = plain.data_ptr<float>() + s.begin;
    } else {
      tensor.stored = stored(s);
    }
  }
  return kernels::pack_buffer(format, tensors, windows);
}

// All second moments, in one window.
kernels::PackedBuffer pack_values(const FlatProblem& p, const NumberFormat& format,
                                  const Buffers& x) {
  std::vector<kernels::PackedTensor> tensors;
  for (std::size_t i = 0; i < p.sections.size(); ++i) {
    const auto& s = p.sections[i];
    auto& tensor = tensors.emplace_back();
    tensor.begin = s.value;
    tensor.size = value_count(p, i);
    if (is_plain(s)) {
      tensor.plain = x.v.data_ptr<float>() + s.value;
    } else {
      tensor.stored = x.values(s);
    }
  }
  return kernels::pack_buffer(format, tensors, {{0, x.v.numel(), 0, 0}});
}

kernels::FlatPlan packed_plan(const FlatProblem& p, const Formats& formats, const Buffers& x,
                              std::int64_t most) {
  auto plan = kernels::make_flat_plan(p.sections);
  auto& packing = plan.packing;
  packing.windows = kernels::flat_windows(plan, p.sections, 256, most);
  packing.w = pack(p, formats.master, packing.windows, x.w,
                   [&](const FlatSection& s) { return x.masters(s); });
  packing.m = pack(p, formats.moment, packing.windows, x.m,
                   [&](const FlatSection& s) { return x.moments(s); });
  if (formats.second == SecondMoments::in_codes) {
    packing.shared = pack_values(p, formats.value, x);
  }
  return plan;
}

// What a step over packed buffers left other than one over float32 ones, in words.
std::string difference(FlatRule::Kind kind, std::int64_t most,
                       SecondMoments second = SecondMoments::float32, float bad = 0.0F) {
  auto problem = packed_problem();
  if (bad != 0.0F) problem.g[problem.g.size() / 2] = bad;
  Formats formats;
  formats.second = second;
  const Buffers expected(problem), found(problem);
  formats.encode(problem, expected);
  formats.decode(problem, expected);
  formats.encode(problem, found);
  const auto rule = flat_rule(kind);
  const auto plain =
      kernels::make_fiber_stepper(kernels::make_flat_plan(problem.sections), nullptr);
  const auto of_plain = plain->step(rule, expected.view(), 0.1);
  if (bad == 0.0F) formats.encode(problem, expected);
  const auto plan = packed_plan(problem, formats, found, most);
  auto view = found.view();
  const auto memory = at::full({2, (plan.packing.largest_window() + 7) / 4 * 4}, NAN);
  view.w = memory[0].data_ptr<float>();
  view.m = memory[1].data_ptr<float>();
  const auto values = at::full_like(found.v, NAN);
  if (second == SecondMoments::in_codes) view.v = values.data_ptr<float>();
  const auto of_packed = kernels::make_fiber_stepper(plan, nullptr)->step(rule, view, 0.1);
  if (!same_bytes(found.weights, expected.weights)) return "weights";
  if (!same_bytes(found.residuals, expected.residuals)) return "residuals";
  if (!same_bytes(found.codes, expected.codes)) return "codes";
  if (!same_bytes(found.scales, expected.scales)) return "scales";
  if (!same_bytes(found.value_codes, expected.value_codes)) return "codes of second moments";
  if (!same_bytes(found.value_scales, expected.value_scales)) return "scales of second moments";
  for (std::size_t i = 0; i < problem.sections.size(); ++i) {
    const auto& s = problem.sections[i];
    const auto moments = [&](const Buffers& x) {
      return x.v.narrow(0, s.value, value_count(problem, i));
    };
    const bool is_float32 = is_plain(s) || second == SecondMoments::float32;
    if (is_float32 && !same_bytes(moments(found), moments(expected))) return "second moments";
    if (!is_plain(s)) continue;
    const auto own = [&](const at::Tensor& x) { return x.narrow(0, s.begin, size_of(s)); };
    if (!same_bytes(own(found.w), own(expected.w))) return "weights that are float32";
    if (!same_bytes(own(found.m), own(expected.m))) return "first moments that are float32";
  }
  if (of_packed.moved != of_plain.moved) return "sizes of updates";
  return "";
}

}  // namespace

TEST_CASE("flat packing: windows cover all elements and pieces once, at lawful places") {
  const auto problem = packed_problem();
  const auto plan = kernels::make_flat_plan(problem.sections);
  const auto elements = std::int64_t(problem.w.size());
  for (const std::int64_t most : {1, 600, 5000, 20000, 1 << 20}) {
    INFO(most);
    const auto windows = kernels::flat_windows(plan, problem.sections, 256, most);
    std::int64_t element = 0, piece = 0;
    for (const auto& window : windows) {
      REQUIRE(window.begin == element);
      REQUIRE(window.first_piece == piece);
      element = window.end;
      piece = window.last_piece;
      for (auto i = window.first_piece; i < window.last_piece; ++i) {
        const auto& p = plan.pieces[std::size_t(i)];
        const auto stride = p.is(kernels::Piece::strip) ? p.stride : p.length;
        CHECK(
            (p.begin >= window.begin && p.begin + (p.count - 1) * stride + p.length <= window.end));
      }
      const auto inside = std::ranges::find_if(problem.sections, [&](const FlatSection& s) {
        return s.begin <= window.begin && window.begin < s.begin + size_of(s);
      });
      CHECK((window.begin - inside->begin) % 256 == 0);
    }
    CHECK(element == elements);
    CHECK(piece == std::ssize(plan.pieces));
    CHECK((windows.size() == 1) == (most >= elements));
  }
  // Rows of 512 elements can be cut anywhere, so that no window is larger than asked for.
  FlatProblem rows;
  rows.add({400, 512, 1, 512}, Moment::tiles);
  const auto of_rows = kernels::make_flat_plan(rows.sections);
  for (const auto& window : kernels::flat_windows(of_rows, rows.sections, 256, 20000)) {
    CHECK(window.end - window.begin <= 20000);
  }
}

TEST_CASE("flat packing: runs have their places in the stream of their part") {
  kernels::PackedTensor first, second;
  first.size = 20000;
  first.parts = {0, 512, 10240};
  first.first_seed = 4;
  second.begin = 20000;
  second.size = 3;
  second.first_seed = 7;
  const std::vector<kernels::FlatWindow> windows = {{0, 768, 0, 1}, {768, 20003, 1, 2}};
  const auto buffer = kernels::pack_buffer({}, {first, second}, windows);
  std::vector<std::vector<std::int64_t>> found;
  for (const auto& run : buffer.runs) {
    found.push_back({run.begin, run.first, run.place, run.seed, run.count});
  }
  CHECK(found == std::vector<std::vector<std::int64_t>>{{0, 0, 0, 4, 512},
                                                        {512, 512, 0, 5, 256},
                                                        {768, 768, 256, 5, 7424},
                                                        {8192, 8192, 7680, 5, 2048},
                                                        {10240, 10240, 0, 6, 6144},
                                                        {16384, 16384, 6144, 6, 3616},
                                                        {20000, 0, 0, 7, 3}});
  CHECK(buffer.first_run == std::vector<std::int64_t>{0, 2, 7});
}

TEST_CASE("flat packing: steps have the bytes of steps over float32, whatever the windows") {
  for (const auto kind : {FlatRule::Kind::adam, FlatRule::Kind::lion, FlatRule::Kind::momentum}) {
    for (const std::int64_t most : {1, 5000, 1 << 20}) {
      INFO("rule " << int(kind) << ", windows of " << most);
      CHECK(difference(kind, most) == "");
    }
  }
}

TEST_CASE("flat packing: second moments that blocks share, of every structure, in codes") {
  for (const std::int64_t most : {5000, 1 << 20}) {
    INFO("windows of " << most);
    CHECK(difference(FlatRule::Kind::adam, most, SecondMoments::in_codes) == "");
  }
}

TEST_CASE("flat packing: a gradient that is not finite changes no byte") {
  CHECK(difference(FlatRule::Kind::adam, 5000, SecondMoments::in_codes,
                   std::numeric_limits<float>::infinity()) == "");
}
