// The kernels of one step on the device against the CPU's: weights and first moments bit for bit,
// given the device's second moments, as flat_problem.hpp says. On SSE4, which has no fused
// multiply-add, nothing is compared.
#include <cstring>
#include <limits>

#include "optimizers/kernels/segment.hpp"
#include "tests/cuda/tested_device.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using Kind = kernels::FlatRule::Kind;
using Moment = FlatSection::Moment;
using Rates = FlatSection::Rates;

namespace {

bool fuses_on_cpu() {
  const std::string target = kernels::simd_target();
  return target.find("SS") == std::string::npos && target.find("EMU") == std::string::npos;
}

void check_on_device(const FlatProblem& problem, Kind kind, double clip_norm) {
  if (!fuses_on_cpu()) {
    SUCCEED("no fused multiply-add on this CPU");
    return;
  }
  const auto found =
      differences(problem, tested_stepper(), flat_rule(kind), 2, clip_norm, tested_memory());
  INFO(found.size() << " differences");
  CHECK((found.empty() ? "" : found.front()) == std::string());
}

FlatProblem structures(const std::vector<FlatShape>& shapes, Rates rates = Rates::step) {
  FlatProblem problem;
  add_structures(problem, shapes, rates);
  problem.fill();
  return problem;
}

FlatProblem of_every_kind() {
  FlatProblem problem;
  add_structures(problem, {{5, 9, 2, 4}, {3, 1031, 2, 500}, {1, 1}});
  for (const auto& shape : std::vector<FlatShape>{{67, 129}, {1, 1}, {5, 7}, {3, 4097}}) {
    problem.add({shape.rows, shape.columns, shape.rows, shape.columns}, Moment::tiles).merged = 4;
    problem.add({shape.rows, shape.columns}, Moment::elements).rests = true;
  }
  problem.fill();
  return problem;
}

// Hundreds of blocks of threads on a device, as many as fibers bear on the CPU.
FlatProblem large_problem() {
  const std::int64_t rows = tested_device().is_cuda() ? 4099 : 67;
  FlatProblem problem;
  problem.add({rows, 1025, 1, 1025}, Moment::tiles);
  problem.add({rows, 1025, rows, 1025}, Moment::tiles);
  problem.add({rows, 257}, Moment::elements);
  problem.add({rows, 515, rows, 515}, Moment::factored);
  problem.add({rows, 129, rows, 1}, Moment::tiles);
  problem.fill();
  return problem;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("device steps: every structure in small shapes, at every alignment") {
  check_on_device(structures(small_shapes()), Kind::adam, 0.0);
}

TEST_CASE("device steps: segments, pieces and strips that are cut") {
  check_on_device(structures(large_shapes()), Kind::adam, 0.0);
}

// The one for tools that watch memory and races: little of everything.
TEST_CASE("device steps: a little of every kind, clipped") {
  check_on_device(of_every_kind(), Kind::adam, 0.1);
}

TEST_CASE("device steps: SGD and Lion") {
  for (const auto kind : {Kind::momentum, Kind::descent, Kind::lion}) {
    check_on_device(of_every_kind(), kind, 0.1);
  }
}

TEST_CASE("device steps: rates per block") {
  for (const auto rates : {Rates::one, Rates::per_tile}) {
    check_on_device(structures({{5, 9, 2, 4}, {3, 1031, 2, 500}, {70, 33, 35, 2}}, rates),
                    Kind::adam, 0.1);
  }
}

TEST_CASE("device steps: large tensors") { check_on_device(large_problem(), Kind::adam, 0.1); }

// What threads do in another order each time would show here.
TEST_CASE("device steps: the same steps give the same bits each time") {
  const auto rule = flat_rule(Kind::adam);
  const auto steps = [&] {
    return stepped(large_problem(), tested_stepper(), rule, 2, 0.1, tested_memory());
  };
  const auto first = steps();
  CHECK_FALSE(same_bits(first.w, large_problem().w));
  const int times = tested_device().is_cuda() ? 20 : 1;
  for (int i = 0; i < times; ++i) {
    const auto again = steps();
    CHECK((same_bits(first.w, again.w) && same_bits(first.m, again.m) &&
           same_bits(first.v, again.v)));
  }
}

TEST_CASE("device steps: a gradient that is not finite changes nothing") {
  auto problem = of_every_kind();
  problem.g[problem.g.size() / 2] = std::numeric_limits<float>::infinity();
  const auto memory = tested_memory()(problem, 0);
  const auto stepper = tested_stepper()(kernels::make_flat_plan(problem.sections), nullptr);
  const auto report = stepper->step(flat_rule(Kind::adam), memory->view(), 1.0);
  CHECK_FALSE(std::isfinite(report.squared_norm));
  auto after = problem;
  memory->read(after);
  CHECK((same_bits(after.w, problem.w) && same_bits(after.m, problem.m) &&
         same_bits(after.v, problem.v)));
}
