#include "experiments/sweeps/curves.hpp"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/input_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/example_run.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

void write_run(const fs::path& path, double loss) {
  fs::create_directories(path.parent_path());
  auto recorder = create_example_run(path, example_header());
  recorder.record(EvaluationRecord{0, 0, loss + 1, 8, 9});
  for (std::int64_t step = 1; step <= 2; ++step) {
    StepRecord row;
    row.step = step;
    row.tokens = step * 64;
    row.loss = loss + 0.1 / static_cast<double>(step);
    row.seconds = 0.5;
    recorder.record(row);
  }
  recorder.record(EvaluationRecord{2, 128, loss, 4, 9});
  recorder.set_status(RunState::finished, "", 2);
  recorder.close();
}

// Members a (finished), "b, too" (finished), c (not started) and d (of another configuration);
// e confirms a.
void write_sweep(const fs::path& folder) {
  nlohmann::json manifest = {{"format", "blockwise-sweep"}, {"version", 1},
                             {"name", "example"},           {"hash", "00"},
                             {"baseline", "adamw"},         {"members", nlohmann::json::array()}};
  const auto add = [&](const std::string& id, std::int64_t seed, const std::string& hash) {
    manifest["members"].push_back({{"id", id},
                                   {"group", "adamw"},
                                   {"seed", seed},
                                   {"overrides", {{"optimizer.learning_rate", 0.5}}},
                                   {"config_hash", hash},
                                   {"config", "members/" + id + "/config.yaml"},
                                   {"run", "members/" + id + "/run.h5"}});
  };
  const auto ours = example_header().config_hash;
  add("a", 7, ours);
  add("b, too", 8, ours);
  add("c", 9, ours);
  add("d", 10, "fedcba9876543210");
  const auto confirmation = manifest["members"][0];
  manifest["confirmations"] = {confirmation};
  manifest["confirmations"][0].update({{"id", "e"}, {"seed", 11}, {"run", "members/e/run.h5"}});
  write_file_atomically(folder / "manifest.json", manifest.dump());
  write_run(folder / "members/a/run.h5", 2.0);
  write_run(folder / "members/b, too/run.h5", 3.0);
  write_run(folder / "members/d/run.h5", 4.0);
  write_run(folder / "members/e/run.h5", 5.0);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("Curves: a row per run, step and quantity, and a column per setting") {
  const TemporaryFolder folder;
  write_sweep(folder.path());
  std::string csv;
  const auto left_out = write_curves(folder.path(), [&](std::string_view text) { csv += text; });
  const auto lines = lines_of(csv);
  CHECK(lines[0] ==
        "run,group,seed,stage,optimizer.learning_rate,step,tokens,seconds,quantity,value");
  CHECK(lines[1] == "a,adamw,7,search,0.5,1,64,0.5,train/loss,2.1");
  CHECK(std::ranges::count(lines, "a,adamw,7,search,0.5,0,0,0,validation/loss,3") == 1);
  CHECK(std::ranges::count(lines, "a,adamw,7,search,0.5,2,128,1,validation/loss,2") == 1);
  CHECK(std::ranges::count(lines, "\"b, too\",adamw,8,search,0.5,2,128,1,validation/loss,3") == 1);
  CHECK(lines.back().starts_with("e,adamw,11,confirmed,0.5,2,128,"));
  // 5 quantities of 2 steps and 2 of 2 evaluations, of three runs.
  CHECK(lines.size() == 1 + 3 * (5 * 2 + 2 * 2));
  REQUIRE(left_out.size() == 2);
  CHECK_THAT(left_out[0], Contains("the run 'c' has not started"));
  CHECK_THAT(left_out[1], Contains("the member 'd' ran another configuration"));
}

TEST_CASE("Curves: one run, with the seed that it records") {
  const TemporaryFolder folder;
  write_run(folder / "one/run.h5", 2.0);
  std::string csv;
  CHECK(write_curves(folder / "one", [&](std::string_view text) { csv += text; }).empty());
  CHECK(lines_of(csv)[0] == "run,group,seed,stage,step,tokens,seconds,quantity,value");
  const auto start = fmt::format("one,one,{},search,1,64,", example_header().provenance.seed);
  CHECK(lines_of(csv)[1].starts_with(start));
}

TEST_CASE("Curves: what is no sweep and no run, and a sweep without runs, are refused") {
  const TemporaryFolder folder;
  const CurveSink nothing = [](std::string_view) {};
  CHECK_THROWS_WITH(write_curves(folder.path(), nothing), Contains("neither a sweep"));
  write_sweep(folder.path());
  fs::remove_all(folder / "members");
  CHECK_THROWS_WITH(write_curves(folder.path(), nothing),
                    Contains("no run to draw curves of") && Contains("has not started"));
}

TEST_CASE("Curves: the verb writes to standard output or a file, and names what it left out") {
  const TemporaryFolder folder;
  write_sweep(folder.path());
  const auto sweep = folder.path().string();
  const auto printed = run_program({"curves", sweep});
  CHECK(printed.exit_code == 0);
  CHECK_THAT(printed.errors, Contains("left out") && Contains("'c' has not started"));
  const auto file = (folder / "out/curves.csv").string();
  CHECK(run_program({"curves", sweep, "--csv", "--output", file}).exit_code == 0);
  CHECK(read_text_file(file, 1 << 20) == printed.output);
  CHECK(run_program({"curves", sweep, "--csv", "--tensorboard"}).exit_code == 2);
  const auto none = run_program({"curves", (folder / "none").string()});
  CHECK(none.exit_code == 2);
  CHECK_THAT(none.errors, Contains("neither a sweep"));
}
