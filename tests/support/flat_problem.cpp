#include "tests/support/flat_problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "optimizers/kernels/adam.hpp"
#include "tests/oracles/adam_oracle.hpp"
#include "tests/support/adam_step.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/guarded_buffer.hpp"

namespace blockwise::testing {
namespace {

using kernels::FlatRule;
using Kind = FlatRule::Kind;
using Moment = FlatSection::Moment;
using Rates = FlatSection::Rates;

std::int64_t tiles(std::int64_t n, std::int64_t tile) { return (n + tile - 1) / tile; }

std::int64_t tile_count(const FlatSection& s) {
  return tiles(s.rows, s.tile_rows) * tiles(s.columns, s.tile_columns);
}

std::int64_t value_count(const FlatSection& s) {
  switch (s.moment) {
    case Moment::elements:
      return s.rows * s.columns;
    case Moment::tiles:
      return tile_count(s);
    case Moment::factored:
      return s.rows + tiles(s.rows, s.tile_rows) * s.columns;
    case Moment::none:
      break;
  }
  return 0;
}

std::int64_t rate_count(const FlatSection& s) {
  if (s.rates == Rates::step) return 0;
  if (s.rates == Rates::one) return 1;
  return s.moment == Moment::factored ? tiles(s.rows, s.tile_rows) : tile_count(s);
}

// A multiple of 16 bytes, so that an aligned buffer touches the guarding page; NaN behind the end.
Floats padded(Floats values) {
  values.resize((values.size() + 3) / 4 * 4, std::numeric_limits<float>::quiet_NaN());
  return values;
}

// The same of copies, whose groups of four have 8 bytes.
std::vector<std::uint16_t> places_for_copies(const FlatProblem& p, int step) {
  return std::vector<std::uint16_t>(p.copies_in(step) ? (p.w.size() + 3) / 4 * 4 : 0, kNoCopy);
}

// The nearest bfloat16, of two the even one, by distances.
std::uint16_t nearest_bfloat16(float x) {
  const auto value = [](std::uint32_t half) { return double(std::bit_cast<float>(half << 16)); };
  const auto below = std::bit_cast<std::uint32_t>(x) >> 16;  // nearer to 0
  const double down = std::abs(double(x) - value(below));
  const double up = std::abs(value(below + 1) - double(x));
  const bool is_up = up < down || (up == down && below % 2 == 1);
  return static_cast<std::uint16_t>(is_up ? below + 1 : below);
}

class GuardedMemory : public ProblemMemory {
 public:
  GuardedMemory(const FlatProblem& p, int step, GuardedBuffer<float>::Against side)
      : w_(padded(p.w), side),
        g_(padded(p.g), side),
        m_(padded(p.m), side),
        v_(padded(p.v), side),
        rates_(padded(p.rates), side),
        copies_(places_for_copies(p, step), side == GuardedBuffer<float>::Against::end
                                                ? GuardedBuffer<std::uint16_t>::Against::end
                                                : GuardedBuffer<std::uint16_t>::Against::begin) {}
  kernels::FlatBuffers view() const override {
    auto* copies = copies_.values().empty() ? nullptr : copies_.data();
    return {w_.data(), g_.data(), m_.data(), v_.data(), rates_.data(), copies};
  }
  void read(FlatProblem& p) const override {
    const auto copy = [](const GuardedBuffer<float>& from, Floats& to) {
      std::copy_n(from.data(), to.size(), to.begin());
    };
    copy(w_, p.w);
    copy(m_, p.m);
    copy(v_, p.v);
    p.copies = copies_.values();
    p.copies.resize(std::min(p.copies.size(), p.w.size()));
  }

 private:
  GuardedBuffer<float> w_, g_, m_, v_, rates_;
  GuardedBuffer<std::uint16_t> copies_;
};

bool same_bits(const float* a, const float* b, std::int64_t n) {
  return n == 0 || std::memcmp(a, b, std::size_t(n) * sizeof(float)) == 0;
}

// One section's step by the CPU's kernels, from the buffers before.
class OnCpu {
 public:
  OnCpu(const FlatSection& s, const FlatProblem& before, const FlatRule& rule, float scale)
      : s_(s),
        rule_(rule),
        w(cut(before.w, s.begin, size())),
        g(cut(before.g, s.begin, size())),
        m(cut(before.m, s.begin, size())),
        v(cut(before.v, s.value, value_count(s))) {
    rule_.adam.gradient_scale = rule_.sgd.gradient_scale = scale;
    if (!s.decays) {
      rule_.adam.decay = rule_.sgd.decay = 1.0f;
      rule_.adam.shrink = rule_.sgd.shrink = 0.0f;
    }
    for (std::int64_t i = 0; i < rate_count(s); ++i) {
      rates_.push_back(double(before.rates[std::size_t(s.rate + i)]));
    }
  }
  // With the second moments of `given` as they are.
  void fix_moments(const Floats& given) {
    v = cut(given, s_.value, value_count(s_));
    rule_.adam = rule_.adam.with_fixed_moment();
  }

  double step() {
    const auto view = this->view();
    switch (rule_.kind) {
      case Kind::adam:
        return adam(view);
      case Kind::momentum:
        return kernels::sgd_momentum(view, rule_.sgd, space_);
      case Kind::descent:
        return kernels::gradient_descent(view, rule_.sgd, space_);
      case Kind::lion:
        return kernels::lion_step(view, rule_.adam, space_);
    }
    return 0.0;
  }

  std::int64_t size() const { return s_.rows * s_.columns; }

 private:
  static Floats cut(const Floats& x, std::int64_t begin, std::int64_t n) {
    return {x.begin() + begin, x.begin() + begin + n};
  }

  kernels::MatrixView view() {
    map_ = {rates_.data(), nullptr, s_.columns, s_.rows, s_.columns};
    if (s_.rates == Rates::per_tile) {
      map_.tile_rows = s_.tile_rows;
      map_.tile_columns = s_.moment == Moment::factored ? s_.columns : s_.tile_columns;
    }
    return {w.data(), g.data(),   m.data(),
            s_.rows,  s_.columns, s_.rates == Rates::step ? nullptr : &map_};
  }

  double adam(const kernels::MatrixView& x) {
    switch (s_.moment) {
      case Moment::elements:
        return kernels::adam_per_element(x, v.data(), rule_.adam, space_);
      case Moment::tiles:
        return kernels::adam_tiles(x, v.data(), {s_.tile_rows, s_.tile_columns}, rule_.adam,
                                   space_);
      case Moment::factored:
        return kernels::adam_factored(x, v.data(), s_.tile_rows, rule_.adam, space_);
      case Moment::none:
        break;
    }
    return kernels::momentum_step(x, rule_.adam, space_);
  }

  FlatSection s_;
  FlatRule rule_;
  std::vector<double> rates_;
  kernels::RateMap map_;
  kernels::Workspace space_;

 public:
  Floats w, g, m, v;
};

// Compares one step.
class Comparison {
 public:
  Comparison(const FlatProblem& before, const FlatProblem& after, const FlatRule& rule,
             const kernels::FlatReport& report)
      : before_(before), after_(after), rule_(rule), report_(report) {
    std::map<std::int64_t, std::vector<const FlatSection*>> merged;
    for (const auto& section : before.sections) {
      check_section(section);
      if (section.merged >= 0 && has_moment(section)) merged[section.merged].push_back(&section);
    }
    for (const auto& [number, sections] : merged) check_merged(sections);
  }

  std::vector<std::string> found;

 private:
  void report(const FlatSection& s, const std::string& what) {
    found.push_back(fmt::format("tensor {} ({} x {}, tiles {} x {}, structure {}, rates {}): {}",
                                s.tensor, s.rows, s.columns, s.tile_rows, s.tile_columns,
                                int(s.moment), int(s.rates), what));
  }

  bool has_moment(const FlatSection& s) const {
    return rule_.kind == Kind::adam && s.moment != Moment::none && !s.rests;
  }

  void check_section(const FlatSection& s) {
    OnCpu cpu(s, before_, rule_, report_.gradient_scale);
    const bool shares = has_moment(s) && s.moment != Moment::elements;
    if (shares) {
      OnCpu free(s, before_, rule_, report_.gradient_scale);
      free.step();
      if (s.merged < 0) check_values(s, free.v);
      cpu.fix_moments(after_.v);
    }
    const double moved = s.rests ? 0.0 : cpu.step();
    if (!same_bits(cpu.w.data(), &after_.w[std::size_t(s.begin)], cpu.size())) report(s, "w");
    if (!same_bits(cpu.m.data(), &after_.m[std::size_t(s.begin)], cpu.size())) report(s, "m");
    const auto* v = after_.v.data() + s.value;
    if (!shares && !same_bits(cpu.v.data(), v, std::int64_t(cpu.v.size()))) report(s, "v");
    if (!after_.copies.empty()) check_copies(s);
    // Exact differences; their squares are summed in two ways.
    const double other = report_.moved[std::size_t(s.tensor)];
    if (!(std::abs(moved - other) <= oracles::kMomentTolerance * moved)) report(s, "moved");
  }

  void check_copies(const FlatSection& s) {
    for (auto i = std::size_t(s.begin); i < std::size_t(s.begin + s.rows * s.columns); ++i) {
      const auto expected = s.rests ? kNoCopy : nearest_bfloat16(after_.w[i]);
      if (after_.copies[i] == expected) continue;
      return report(s, fmt::format("copy {:#x} of element {} = {}, not {:#x}", after_.copies[i], i,
                                   after_.w[i], expected));
    }
  }

  void check_values(const FlatSection& s, const Floats& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double error = double(after_.v[std::size_t(s.value) + i]) - double(expected[i]);
      if (!(std::abs(error) <= oracles::kMomentTolerance * double(expected[i]))) {
        return report(s, fmt::format("v[{}] is off by {} of {}", i, error, expected[i]));
      }
    }
  }

  void check_merged(const std::vector<const FlatSection*>& sections) {
    double squares = 0.0, count = 0.0;
    for (const auto* s : sections) {
      for (std::int64_t i = 0; i < s->rows * s->columns; ++i) {
        squares += std::pow(
            double(before_.g[std::size_t(s->begin + i)]) * double(report_.gradient_scale), 2);
      }
      count += double(s->rows * s->columns);
    }
    for (const auto* s : sections) {
      const double old = before_.v[std::size_t(s->value)];
      const double expected =
          double(rule_.adam.beta2) * old + double(rule_.adam.one_minus_beta2) * squares / count;
      const double error = double(after_.v[std::size_t(s->value)]) - expected;
      if (!(std::abs(error) <= oracles::kMomentTolerance * expected)) report(*s, "merged v");
    }
  }

  const FlatProblem& before_;
  const FlatProblem& after_;
  FlatRule rule_;
  const kernels::FlatReport& report_;
};

double squared_norm(const FlatProblem& p) {
  double sum = 0.0;
  for (const auto x : p.g) sum += double(x) * double(x);
  return sum;
}

// The norm, and the factor of clip_grad_norm_.
void check_norm(const FlatProblem& p, const kernels::FlatReport& report, double bound,
                std::vector<std::string>& found) {
  const double square = squared_norm(p);
  if (!(std::abs(report.squared_norm - square) <= oracles::kMomentTolerance * square)) {
    found.push_back(fmt::format("the squared norm {} is not {}", report.squared_norm, square));
  }
  const double scale = bound > 0.0 ? std::min(1.0, bound / (std::sqrt(square) + 1e-6)) : 1.0;
  if (!(std::abs(report.gradient_scale - scale) <= oracles::kMomentTolerance * scale)) {
    found.push_back(fmt::format("the factor {} is not {}", report.gradient_scale, scale));
  }
}

}  // namespace

FlatSection& FlatProblem::add(const FlatShape& shape, Moment moment, Rates rates_kind) {
  FlatSection s;
  s.begin = elements_;
  s.rows = shape.rows;
  s.columns = shape.columns;
  s.moment = moment;
  s.tile_rows = std::min(shape.tile_rows, shape.rows);
  s.tile_columns = std::min(shape.tile_columns, shape.columns);
  s.value = values_;
  s.rates = rates_kind;
  s.rate = rates_count_;
  s.tensor = std::int64_t(sections.size());
  s.decays = s.tensor % 3 != 0;
  elements_ += s.rows * s.columns;
  values_ += value_count(s);
  rates_count_ += rate_count(s);
  return sections.emplace_back(s);
}

void FlatProblem::fill() {
  w = formula_floats(1, elements_, 1.0);
  m = formula_floats(3, elements_, 1e-2);
  v = formula_floats(4, values_, 4e-5, 5e-5);
  rates = formula_floats(5, rates_count_, 0.5, 1.0);
  for (const auto& s : sections) {
    if (s.merged >= 0) v[std::size_t(s.value)] = 5e-5f;
  }
  draw_gradient(2);
}

void FlatProblem::draw_gradient(std::uint32_t stream) {
  g = formula_floats(stream, elements_, 1e-2);
}

void add_structures(FlatProblem& problem, const std::vector<FlatShape>& shapes, Rates rates) {
  for (const auto& [rows, columns, tile_rows, tile_columns] : shapes) {
    problem.add({rows, columns}, Moment::elements, rates);
    problem.add({rows, columns, tile_rows, tile_columns}, Moment::elements, rates);
    problem.add({rows, columns, tile_rows, columns}, Moment::elements, rates);
    problem.add({rows, columns, 1, columns}, Moment::tiles, rates);
    problem.add({rows, columns, tile_rows, columns}, Moment::tiles, rates);
    problem.add({rows, columns, rows, columns}, Moment::tiles, rates);
    problem.add({rows, columns, rows, 1}, Moment::tiles, rates);
    problem.add({rows, columns, tile_rows, tile_columns}, Moment::tiles, rates);
    problem.add({rows, columns, rows, columns}, Moment::factored, rates);
    problem.add({rows, columns, tile_rows, columns}, Moment::factored, rates);
    problem.add({rows, columns, tile_rows, tile_columns}, Moment::none, rates);
  }
}

std::vector<FlatShape> small_shapes() {
  std::vector<FlatShape> shapes;
  for (const std::int64_t rows : {1, 2, 5, 17, 33}) {
    for (const std::int64_t columns : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33}) {
      shapes.push_back({rows, columns, 2 + rows % 3, 2 + columns % 4});
    }
  }
  return shapes;
}

std::vector<FlatShape> large_shapes() {
  return {{9, 1025, 8, 1024}, {67, 1091, 40, 100}, {300, 3, 100, 2}, {40, 210, 39, 209}};
}

kernels::FlatRule flat_rule(Kind kind) {
  kernels::FlatRule rule;
  rule.kind = kind;
  rule.adam = adam_step();
  rule.sgd = sgd_step(true);
  return rule;
}

std::unique_ptr<ProblemMemory> guarded_memory(const FlatProblem& problem, int step) {
  const auto side =
      step % 2 == 0 ? GuardedBuffer<float>::Against::end : GuardedBuffer<float>::Against::begin;
  return std::make_unique<GuardedMemory>(problem, step, side);
}

namespace {

template <typename Check>
FlatProblem run(FlatProblem problem, kernels::MakeFlatStepper& make, const FlatRule& rule,
                int steps, double clip_norm, MakeProblemMemory& make_memory, const Check& check) {
  const auto stepper = make(kernels::make_flat_plan(problem.sections), nullptr);
  for (int step = 0; step < steps; ++step) {
    problem.draw_gradient(std::uint32_t(20 + step));
    const auto before = problem;
    const auto memory = make_memory(problem, step);
    const auto report = stepper->step(rule, memory->view(), clip_norm);
    memory->read(problem);
    check(before, problem, report);
  }
  return problem;
}

}  // namespace

std::vector<std::string> differences(FlatProblem problem, kernels::MakeFlatStepper& make,
                                     const FlatRule& rule, int steps, double clip_norm,
                                     MakeProblemMemory& memory) {
  std::vector<std::string> found;
  run(std::move(problem), make, rule, steps, clip_norm, memory,
      [&](const FlatProblem& before, const FlatProblem& after, const kernels::FlatReport& report) {
        check_norm(before, report, clip_norm, found);
        const auto more = Comparison(before, after, rule, report).found;
        found.insert(found.end(), more.begin(), more.end());
      });
  return found;
}

FlatProblem stepped(FlatProblem problem, kernels::MakeFlatStepper& make, const FlatRule& rule,
                    int steps, double clip_norm, MakeProblemMemory& memory) {
  return run(std::move(problem), make, rule, steps, clip_norm, memory,
             [](const FlatProblem&, const FlatProblem&, const kernels::FlatReport&) {});
}

}  // namespace blockwise::testing
