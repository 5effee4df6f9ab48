// What every registered rule can do, on small problems with known solutions, in the spirit of the
// test problems of HeavyBall; the table is tests/optimizers/behaviour.json, and docs/behaviour.md
// shows it. A rule that gets worse fails, and one that gets better, until the table is written
// anew:
//
//   BLOCKWISE_BEHAVIOUR=write build/release/test_optimizers "behaviour: every rule*"
#include <cmath>
#include <cstdlib>

#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "optimizers/rule_spec.hpp"
#include "tests/optimizers/behaviour/table.hpp"
#include "tests/optimizers/behaviour/trial.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

const std::string kTable = BLOCKWISE_SOURCE_DIR "/tests/optimizers/behaviour.json";
const std::string kPage = BLOCKWISE_SOURCE_DIR "/docs/behaviour.md";
const std::string kBegin = "<!-- table -->\n", kEnd = "<!-- end of the table -->";
const std::string kCommand =
    "`BLOCKWISE_BEHAVIOUR=write build/release/test_optimizers \"behaviour: every rule*\"` writes "
    "tests/optimizers/behaviour.json and docs/behaviour.md anew; look at what changed";

std::string page_with(const std::string& table) {
  const auto page = read_text_file(kPage);
  const auto begin = page.find(kBegin) + kBegin.size();
  return page.substr(0, begin) + table + page.substr(page.find(kEnd, begin));
}

void write(const BehaviourTable& table) {
  write_file_atomically(kTable, table.json());
  write_file_atomically(kPage, page_with(table.markdown()));
}

bool is_writing() {
  const char* wanted = std::getenv("BLOCKWISE_BEHAVIOUR");
  return wanted != nullptr && std::string(wanted) == "write";
}

}  // namespace

TEST_CASE("behaviour: doing nothing solves no problem, and the solution all") {
  for (const auto& problem : problems()) {
    INFO(problem.name);
    const auto& landscape = *problem.landscape;
    const auto start = landscape.start();
    CHECK(outcome_of(landscape.distance(start) / problem.target) == Outcome::failed);
    CHECK(outcome_of(held_distance(problem, {{"rule", "sgd"}}, 0.0)) == Outcome::failed);
    const auto solution = landscape.solution(start);
    CHECK(landscape.distance(solution) == 0.0);
    CHECK(landscape.loss(solution) < 1e-12);
    CHECK(landscape.loss(solution) < 0.5 * landscape.loss(start));
    for (const double slope : landscape.gradient(solution)) CHECK(std::abs(slope) < 1e-12);
  }
}

TEST_CASE("behaviour: gradients and curvatures are those of the losses") {
  for (const auto& problem : problems()) {
    INFO(problem.name);
    const auto& landscape = *problem.landscape;
    auto w = landscape.start();
    for (auto& value : w) value = 0.75 * value + 0.1;
    const auto gradient = landscape.gradient(w), curvature = landscape.curvature(w);
    for (std::size_t i = 0; i < w.size(); ++i) {
      // Central differences of functions with derivatives up to some 10: errors of 1e-7.
      const double h = 1e-4;
      auto ahead = w, behind = w;
      ahead[i] += h;
      behind[i] -= h;
      const double slope = (landscape.loss(ahead) - landscape.loss(behind)) / (2.0 * h);
      CHECK(std::abs(slope - gradient[i]) < 1e-6);
      const double bend =
          (landscape.gradient(ahead)[i] - landscape.gradient(behind)[i]) / (2.0 * h);
      CHECK(std::abs(std::abs(bend) - curvature[i]) < 1e-6);
    }
  }
}

TEST_CASE("behaviour: every rule solves what the table says") {
  auto table = BehaviourTable::read(kTable);
  const bool writing = is_writing();
  for (const auto& entry : update_rules()) {
    if (!writing && !table.has(entry.name)) {
      FAIL_CHECK("the table has no rule '" << entry.name << "': " << kCommand);
      continue;
    }
    for (const auto& problem : problems()) {
      const auto measured = table.measured(entry.name, problem.name);
      const auto expected = table.expected(entry.name, problem.name);
      INFO(entry.name << " on " << problem.name << ": " << measured << ", the table has "
                      << expected << "; " << kCommand);
      if (writing) {
        table.set(entry.name, problem.name, measured);
      } else {
        CHECK(change(expected, measured) == Change::none);
      }
    }
  }
  if (writing) {
    table.keep(update_rules().names());
    write(table);
  }
  CHECK(read_text_file(kPage) == page_with(table.markdown()));
}

TEST_CASE("behaviour: a change for the worse is told from one for the better") {
  CHECK(change("-+~-", "-+~-") == Change::none);
  CHECK(change("-+~-", "~~--") == Change::none);
  CHECK(change("-+~-", "-+++") == Change::better);
  CHECK(change("-+~-", "+-+-") == Change::worse);
  CHECK(change("-+~-", "-+~") == Change::worse);
  CHECK(BehaviourTable::read(kTable).stale_reasons() == std::vector<std::string>{});
}
