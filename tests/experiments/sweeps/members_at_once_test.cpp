#include "experiments/sweeps/members_at_once.hpp"

#include <cstdlib>
#include <fstream>
#include <regex>
#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/small_sweep.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

const std::string kThreeMembers = R"(sweep:
  seeds: [1, 2, 3]
  parameters:
    optimizer.learning_rate: {values: [1.0e-3]}
  groups:
    - name: adamw
      set: {optimizer.rule: adamw}
)";

// The threads that a run alone would have, as users say it, and as it was afterwards.
class ThreadsSaid {
 public:
  explicit ThreadsSaid(int threads) : before_(std::getenv("OMP_NUM_THREADS")) {
    ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  }
  ~ThreadsSaid() { ::setenv("OMP_NUM_THREADS", before_.c_str(), 1); }

 private:
  std::string before_;
};

}  // namespace

TEST_CASE("As many members run as there are members, threads and room, and one at least") {
  CHECK(members_that_fit(36, 2, 1000, 10) == 2);
  CHECK(members_that_fit(3, 64, 1000, 10) == 3);
  CHECK(members_that_fit(36, 64, 1000, 300) == 3);
  CHECK(members_that_fit(36, 64, 10, 300) == 1);
}

TEST_CASE("A sweep of small models takes every thread, and one member at a time on one") {
  const SmallSweep p(4, kThreeMembers);
  const auto prepared = p.sweep();
  INFO(prepared.errors);
  REQUIRE(prepared.exit_code == 0);
  const auto sweep = read_manifest(p.folder / "run");
  REQUIRE(sweep.members.size() == 3);
  for (const int threads : {1, 2, 3}) {
    const ThreadsSaid said(threads);
    CHECK(members_at_once(sweep) == threads);
  }
}

TEST_CASE("A member that no memory holds runs alone") {
  const SmallSweep p(4, kThreeMembers);
  const auto prepared = p.sweep();
  INFO(prepared.errors);
  REQUIRE(prepared.exit_code == 0);
  auto sweep = read_manifest(p.folder / "run");
  // 800 GB of parameters, gradients and state for every layer.
  for (auto& member : sweep.members) member.plan.group = "large";
  const auto file = p.folder / "run" / sweep.members[0].config;
  const std::regex size("n_embd: [0-9]+");
  const auto text = std::regex_replace(read_text_file(file), size, "n_embd: 65536");
  std::ofstream(file) << text;
  const ThreadsSaid said(3);
  CHECK(members_at_once(sweep) == 1);
}
