// The source of the CUDA kernels, run on the CPU by fibers (fibers/thread_block.hpp), against the
// CPU's own kernels. Bit-equal where both do the same arithmetic; SSE4 has no fused multiply-add,
// so nothing is compared there.
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/optimizers/kernels/fibers/thread_block.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/flat_problem.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using kernels::FlatRule;
using Kind = FlatRule::Kind;
using Moment = FlatSection::Moment;
using Rates = FlatSection::Rates;

namespace {

bool has_fused_multiply_add() {
  const std::string target = kernels::simd_target();
  return target.find("SS") == std::string::npos && target.find("EMU") == std::string::npos;
}

std::string first(const std::vector<std::string>& found) {
  return found.empty() ? "" : std::to_string(found.size()) + ", first: " + found.front();
}

// Two steps: the second one finds what the first left behind.
void check_agrees(const FlatProblem& problem, Kind kind, double clip_norm = 0.0) {
  if (!has_fused_multiply_add()) {
    SUCCEED("no fused multiply-add here");
    return;
  }
  CHECK(first(differences(problem, kernels::make_fiber_stepper, flat_rule(kind), 2, clip_norm)) ==
        "");
}

FlatProblem problem_of(const std::vector<FlatShape>& shapes, Rates rates = Rates::step) {
  FlatProblem problem;
  add_structures(problem, shapes, rates);
  problem.fill();
  return problem;
}

void add_merged(FlatProblem& problem) {
  for (const auto& shape : std::vector<FlatShape>{{67, 129}, {1, 1}, {5, 7}, {3, 4097}}) {
    problem.add({shape.rows, shape.columns, shape.rows, shape.columns}, Moment::tiles).merged = 4;
    problem.add({shape.rows, shape.columns}, Moment::elements).rests = true;
    problem.add({shape.rows, shape.columns, shape.rows, shape.columns}, Moment::tiles, Rates::one)
        .merged = 7;
  }
}

// Little of everything.
FlatProblem mixed_problem() {
  FlatProblem problem;
  add_structures(problem, {{5, 9, 2, 4}, {3, 1031, 2, 500}, {1, 1}});
  add_merged(problem);
  problem.fill();
  return problem;
}

bool same(const FlatProblem& a, const FlatProblem& b) {
  const auto equal = [](const Floats& x, const Floats& y) {
    return std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  };
  return equal(a.w, b.w) && equal(a.m, b.m) && equal(a.v, b.v) && a.copies == b.copies;
}

}  // namespace

TEST_CASE("flat steps: every structure in small shapes, at every alignment") {
  check_agrees(problem_of(small_shapes()), Kind::adam);
}

TEST_CASE("flat steps: segments, pieces and strips that are cut") {
  FlatProblem problem;
  add_structures(problem, large_shapes());
  problem.add({8193, 1}, Moment::elements);
  problem.add({8193, 1, 8192, 1}, Moment::tiles);
  problem.add({3, 4097, 2, 4097}, Moment::tiles);
  problem.fill();
  check_agrees(problem, Kind::adam);
}

TEST_CASE("flat steps: merged sections, and tensors that rest") {
  check_agrees(mixed_problem(), Kind::adam);
}

// Given the device's factor, elements are bit-equal; see flat_step.hpp for shared moments.
TEST_CASE("flat steps: clipping by the norm") {
  check_agrees(mixed_problem(), Kind::adam, 0.1);
  check_agrees(mixed_problem(), Kind::adam, 1e6);
}

TEST_CASE("flat steps: bfloat16 copies of every weight that moves") {
  for (const auto kind : {Kind::adam, Kind::momentum, Kind::descent, Kind::lion}) {
    auto problem = mixed_problem();
    problem.copies_always = true;
    check_agrees(problem, kind);
  }
  // Between two bfloat16 numbers, to the even one; and a step that overflows.
  auto problem = mixed_problem();
  for (std::size_t i = 0; i < problem.w.size(); ++i) {
    problem.w[i] = 1.0f + 0.00390625f * float(i % 256);
    problem.g[i] = 0.0f;
  }
  problem.copies_always = true;
  check_agrees(problem, Kind::descent);
}

TEST_CASE("flat steps: SGD and Lion") {
  for (const auto kind : {Kind::momentum, Kind::descent, Kind::lion}) {
    check_agrees(mixed_problem(), kind, 0.1);
  }
}

TEST_CASE("flat steps: rates per block") {
  const std::vector<FlatShape> shapes = {{5, 9, 2, 4}, {3, 1031, 2, 500}, {1, 1}, {70, 33, 35, 2}};
  for (const auto rates : {Rates::one, Rates::per_tile}) {
    for (const auto kind : {Kind::adam, Kind::momentum, Kind::descent, Kind::lion}) {
      check_agrees(problem_of(shapes, rates), kind);
    }
  }
}

TEST_CASE("flat steps: more pieces than one block adds up") {
  FlatProblem problem;
  problem.add({1030, 4, 1, 2}, Moment::none, Rates::per_tile);  // a strip of each row
  problem.fill();
  check_agrees(problem, Kind::adam);
}

TEST_CASE("flat steps: the order of a block's threads changes no bit") {
  const auto rule = flat_rule(Kind::adam);
  const auto with = [&](fibers::Order order) {
    fibers::set_order(order);
    auto result = stepped(mixed_problem(), kernels::make_fiber_stepper, rule, 2, 0.1);
    fibers::set_order(fibers::Order::ascending);
    return result;
  };
  const auto one = with(fibers::Order::ascending);
  CHECK_FALSE(same(one, mixed_problem()));
  CHECK(same(one, with(fibers::Order::descending)));
  CHECK(same(one, with(fibers::Order::shuffled)));
}

TEST_CASE("flat steps: a gradient that is not finite changes nothing, and the next step is made") {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const auto kind : {Kind::adam, Kind::lion}) {
      auto problem = mixed_problem();
      const auto stepper =
          kernels::make_fiber_stepper(kernels::make_flat_plan(problem.sections), nullptr);
      const auto step = [&] {
        alignas(16) static float buffers[4][1 << 17];
        Floats* const host[] = {&problem.w, &problem.g, &problem.m, &problem.v};
        for (int i = 0; i < 4; ++i) std::copy(host[i]->begin(), host[i]->end(), buffers[i]);
        const auto report = stepper->step(
            flat_rule(kind), {buffers[0], buffers[1], buffers[2], buffers[3], problem.rates.data()},
            1.0);
        for (int i = 0; i < 4; ++i) std::copy_n(buffers[i], host[i]->size(), host[i]->begin());
        return report;
      };
      problem.g[problem.g.size() / 2] = bad;
      const auto before = problem;
      const auto report = step();
      CHECK_FALSE(std::isfinite(report.squared_norm));
      CHECK(same(problem, before));
      CHECK(std::ranges::count(report.moved, 0.0) == std::ptrdiff_t(report.moved.size()));
      problem.draw_gradient(8);
      CHECK(std::isfinite(step().squared_norm));
      CHECK_FALSE(same(problem, before));
    }
  }
}

TEST_CASE("flat steps: planted faults are found") {
  if (!has_fused_multiply_add()) {
    SUCCEED("no fused multiply-add here");
    return;
  }
  const auto rule = flat_rule(Kind::adam);
  const auto faults = [&](kernels::MakeFlatStepper& make) {
    return differences(mixed_problem(), make, rule, 2, 0.1).size();
  };
  fibers::forget_barrier_lines();
  CHECK(faults(kernels::make_fiber_stepper) == 0);
  CHECK(faults(kernels::make_lost_tail_stepper) > 0);
  CHECK(faults(kernels::make_kept_ticket_stepper) > 0);
  const auto barriers = fibers::barrier_lines();
  CHECK(barriers.size() == 2);
  for (const int line : barriers) {
    INFO("the barrier of line " << line);
    fibers::skip_barrier(line);
    CHECK(faults(kernels::make_fiber_stepper) > 0);
    fibers::skip_barrier(0);
  }
}

TEST_CASE("fibers: threads that wait at different places are an error") {
  CHECK_THROWS_AS(
      fibers::run_grid(1, 64, [] { fibers::wait_for_block(fibers::thread_index().x < 32); }),
      std::logic_error);
}

TEST_CASE("flat plans: sections out of order and merged tiles are refused") {
  FlatSection section;
  section.tensor = 1;
  CHECK_THROWS_AS(kernels::make_flat_plan({section}), std::invalid_argument);
  section.tensor = 0;
  section.rows = 4;
  section.moment = Moment::tiles;
  section.merged = 0;
  CHECK_THROWS_AS(kernels::make_flat_plan({section}), std::invalid_argument);
}
