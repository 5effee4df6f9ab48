#include "experiments/sweeps/report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/example_run.hpp"
#include "tests/support/example_sweep.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using blockwise::testing::Approx;
namespace fs = std::filesystem;

namespace {

// adamw is best at the middle of three rates, adam_mini at the highest of two; its lowest diverges
// once. The losses of the best ones are those of statistics_test.
void fill(ExampleSweep& sweep) {
  for (std::int64_t seed = 1; seed <= 3; ++seed) {
    const double shift = 0.01 * static_cast<double>(seed);
    sweep.add("adamw", 0.001, seed, 1.95 + shift);
    sweep.add("adamw", 0.01, seed, 1.90 + shift);
    sweep.add("adam_mini", 0.001, seed, 1.5 + shift,
              seed == 2 ? RunState::diverged : RunState::finished);
  }
  const double baseline[] = {1.8500, 1.8495, 1.8411}, mini[] = {1.8321, 1.8402, 1.8277};
  for (std::int64_t i = 0; i < 3; ++i) {
    sweep.add("adamw", 0.003, i + 1, baseline[i]);
    sweep.add("adam_mini", 0.003, i + 1, mini[i]);
  }
}

const ReportRow& row_of(const Report& report, const std::string& group, const std::string& rate) {
  for (const auto& row : report.rows) {
    const auto settings =
        std::map<std::string, std::string>(row.settings.begin(), row.settings.end());
    if (row.group == group && settings.at("optimizer.learning_rate") == rate) return row;
  }
  throw std::out_of_range(group + " " + rate);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("Report: the numbers of a sweep") {
  ExampleSweep sweep;
  fill(sweep);
  const auto report = make_report(sweep.path());
  CHECK((report.name == "example" && report.baseline == "adamw" && report.rows.size() == 5));

  const auto& mini = row_of(report, "adam_mini", "0.003");
  CHECK((mini.seeds.finished == 3 && mini.seeds.total() == 3));
  CHECK(mini.final_losses == std::map<std::int64_t, double>{{1, 1.8321}, {2, 1.8402}, {3, 1.8277}});
  CHECK(mini.final_loss->mean == Approx(1.8333333333333333).epsilon(1e-12));
  CHECK(*mini.final_loss->standard_deviation == Approx(0.006340609855000785));
  CHECK(*mini.final_loss->half_width == Approx(0.015750948056303244));
  CHECK(*mini.best_loss == Approx(1.7333333333333333));
  CHECK(mini.against_baseline->difference.mean == Approx(-0.01353333333333325));
  CHECK(*mini.against_baseline->difference.half_width == Approx(0.010685642842757158));
  CHECK(*mini.against_baseline->p_value == Approx(0.03206496834175041));
  CHECK(*mini.optimizer_bytes == (1 << 20) + 3 * 1024);
  CHECK(*mini.peak_allocated == 3 << 20);
  CHECK(*mini.step_seconds == Approx(0.03));
  CHECK(*mini.tokens_per_second == Approx(100 / 0.03));

  const auto& baseline = row_of(report, "adamw", "0.003");
  CHECK((baseline.is_baseline && !baseline.against_baseline));
  CHECK(row_of(report, "adamw", "0.01").against_baseline->difference.mean > 0.05);
}

TEST_CASE("Report: a configuration with a diverged seed comes after all without") {
  ExampleSweep sweep;
  fill(sweep);
  const auto report = make_report(sweep.path());
  const auto& last = report.rows.back();
  CHECK((last.group == "adam_mini" && last.final_loss->mean < 1.6));
  CHECK((last.seeds.finished == 2 && last.seeds.diverged == 1));
  // A difference of the seeds that are left, and no test of them.
  CHECK(last.against_baseline->difference.count == 2);
  CHECK(!last.against_baseline->p_value);
  CHECK(!last.holm_p_value);
  // What diverged has not come down to the baseline's loss, wherever it was before.
  CHECK((last.time_to_baseline->pairs == 3 && last.time_to_baseline->reached == 2));
  CHECK(!last.time_to_baseline->log_steps);
  CHECK(report.groups[0].name == "adam_mini");
  CHECK(report.groups[1].name == "adamw");
}

TEST_CASE("Report: the best value at the edge of what a group tried") {
  ExampleSweep sweep;
  fill(sweep);
  auto report = make_report(sweep.path());
  REQUIRE(report.groups[0].swept.size() == 1);
  const auto& mini = report.groups[0].swept[0];
  CHECK(mini.path == "optimizer.learning_rate");
  CHECK(mini.tried == std::vector<double>{0.001, 0.003});
  CHECK(*mini.best == 0.003);
  CHECK(mini.position == GridPosition::highest);
  CHECK(*report.groups[1].swept[0].best == 0.003);
  CHECK(report.groups[1].swept[0].position == GridPosition::inside);
  CHECK_THAT(report_table(report), Contains("warning: adam_mini: the best optimizer.learning_rate "
                                            "0.003 is the highest of the 2 tried"));
  sweep.add("sgd", 0.1, 1, 3.0);
  report = make_report(sweep.path());
  CHECK(report.groups[2].swept[0].position == GridPosition::only);
  CHECK_THAT(report_table(report),
             Contains("warning: sgd: optimizer.learning_rate 0.1 is the only one tried"));
  const auto& sgd = row_of(report, "sgd", "0.1");
  CHECK((!sgd.final_loss->half_width && !sgd.against_baseline->p_value && !sgd.holm_p_value));
}

TEST_CASE("Report: any number that a group varies may be at its edge") {
  ExampleSweep sweep;
  for (const double beta2 : {0.9, 0.95, 0.99}) {
    sweep.add("adamw", 0.001, 1, 3.0 - beta2, RunState::finished, {{"optimizer.beta2", beta2}});
  }
  const auto report = make_report(sweep.path());
  const auto& swept = report.groups[0].swept;
  REQUIRE(swept.size() == 2);
  CHECK(swept[0].path == "optimizer.beta2");
  CHECK(swept[0].position == GridPosition::highest);
  CHECK(swept[1].position == GridPosition::only);
  CHECK_THAT(report_table(report),
             Contains("the best optimizer.beta2 0.99 is the highest of the 3"));
}

TEST_CASE("Report: groups that tried different numbers of configurations are marked") {
  ExampleSweep sweep;
  fill(sweep);
  const auto report = make_report(sweep.path());
  CHECK(report.groups[0].configurations == 2);
  CHECK(report.groups[1].configurations == 3);
  CHECK_THAT(
      report_table(report),
      Contains("warning: unequal tuning: adam_mini is the best of 2 configurations, adamw of 3"));
  ExampleSweep equal;
  for (const auto* group : {"adamw", "adam_mini"}) {
    for (const double rate : {0.001, 0.003}) equal.add(group, rate, 1, 2.0 + rate);
  }
  CHECK_THAT(report_table(make_report(equal.path())), !Contains("unequal tuning"));
}

TEST_CASE("Report: runs that are not finished are counted and leave no loss") {
  ExampleSweep sweep;
  sweep.add("adamw", 0.001, 1, 2.0);
  sweep.add("adamw", 0.001, 2, 2.1, RunState::interrupted);
  sweep.add("adamw", 0.001, 3, 2.1, RunState::running);
  sweep.add("adamw", 0.001, 4, 2.1, RunState::failed);
  sweep.add("adamw", 0.001, 5, std::numeric_limits<double>::quiet_NaN());
  sweep.plan("adamw", 0.001, 6);
  write_file_atomically(sweep.plan("adamw", 0.001, 7), "not a run file");
  const auto report = make_report(sweep.path());
  REQUIRE(report.rows.size() == 1);
  const auto& seeds = report.rows[0].seeds;
  CHECK((seeds.finished == 1 && seeds.diverged == 1 && seeds.failed == 2 && seeds.unfinished == 2));
  CHECK((seeds.missing == 1 && seeds.total() == 7));
  CHECK(report.rows[0].final_losses == std::map<std::int64_t, double>{{1, 2.0}});
  CHECK_THAT(
      report_table(report),
      Contains("warning: counted as failed: ") && Contains("not an HDF5 file") &&
          Contains("1 of 7 seeds finished, 1 diverged, 2 failed, 2 unfinished, 1 not started"));
}

TEST_CASE("Report: a sweep of which nothing has run yet") {
  ExampleSweep sweep;
  sweep.plan("adamw", 0.001, 1);
  sweep.plan("adam_mini", 0.001, 1);
  const auto report = make_report(sweep.path());
  CHECK(!report.groups[0].swept[0].best);
  CHECK_THAT(report_table(report), Contains("the baseline adamw has no finished run"));
  CHECK(nlohmann::json::parse(report_json(report))["configurations"].size() == 2);
}

TEST_CASE("Report: the tables as text") {
  ExampleSweep sweep;
  fill(sweep);
  // The numbers were computed from the losses with NumPy and SciPy 1.17.1, as in statistics_test.
  // clang-format off
  const std::vector<std::string> expected = {
      "example: validation loss in nats per token, mean ± 95 % interval over seeds.",
      "Differences: to the best configuration of adamw, paired by seed; negative is better.",
      "p: two-sided paired t-test, of each comparison by itself; Holm: corrected for all of them.",
      "",
      "group      learning_rate  tried  seeds       final loss        difference      p   Holm  optimizer  peak memory     step  tokens/s",
      "adam_mini  0.003              2      3  1.8333 ± 0.0158  -0.0135 ± 0.0107  0.032  0.032    1.0 MiB      3.0 MiB  30.0 ms      3.3k",
      "adamw      0.003              3      3  1.8469 ± 0.0124          baseline      -      -    1.0 MiB      3.0 MiB  30.0 ms      3.3k",
      "",
      "To the final loss of adamw, each seed to its own, selected: mean over the seeds that reach it, linear between evaluations.",
      "ratio: geometric mean over seeds of own to baseline (95 %); p: two-sided paired t-test of its logarithm.",
      "A seed that does not reach it is censored at its end; then there is no ratio, which would be of the fast seeds alone.",
      "group      learning_rate  reached  steps                ratio      p  tokens  seconds                ratio      p",
      "adam_mini  0.003              3/3   2.91  1.00 (0.99 to 1.00)  0.032     291  0.05819  1.00 (0.99 to 1.00)  0.032",
      "adamw      0.003              3/3   2.92             baseline      -     292   0.0584             baseline      -",
      "",
      "All configurations, best first:",
      "group      learning_rate  seeds       final loss      sd  best loss        difference      p   Holm",
      "adam_mini  0.003              3  1.8333 ± 0.0158  0.0063     1.7333  -0.0135 ± 0.0107  0.032  0.032",
      "adamw      0.003              3  1.8469 ± 0.0124  0.0050     1.7469          baseline      -      -",
      "adamw      0.01               3  1.9200 ± 0.0248  0.0100     1.8200  +0.0731 ± 0.0363  0.013  0.026",
      "adamw      0.001              3  1.9700 ± 0.0248  0.0100     1.8700  +0.1231 ± 0.0363  0.005  0.014",
      "adam_mini  0.001            2/3  1.5200 ± 0.1271  0.0141     1.4200  -0.3256 ± 0.1836      -      -",
      "",
      "warning: adam_mini optimizer.learning_rate=0.001 optimizer.rule=adam_mini: 2 of 3 seeds finished, 1 diverged",
      "warning: adam_mini: the best optimizer.learning_rate 0.003 is the highest of the 2 tried; a better one may lie beyond",
      "warning: unequal tuning: adam_mini is the best of 2 configurations, adamw of 3; the best of more is lower by chance alone"};
  // clang-format on
  CHECK(lines_of(report_table(make_report(sweep.path()))) == expected);
}

TEST_CASE("Report: CSV has a line per configuration and full numbers") {
  ExampleSweep sweep;
  fill(sweep);
  sweep.add("a,\"b\"", 0.5, 1, 9.0);
  const auto lines = lines_of(report_csv(make_report(sweep.path())));
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] ==
        "group,optimizer.learning_rate,optimizer.rule,seeds_finished,seeds_diverged,seeds_failed,"
        "seeds_unfinished,seeds_missing,final_loss,final_loss_standard_deviation,"
        "final_loss_half_width,best_loss,difference,difference_half_width,difference_pairs,p_value,"
        "p_value_holm,"
        "optimizer_bytes,peak_allocated_bytes,step_seconds,tokens_per_second,test_loss,"
        "test_difference,test_difference_half_width,test_p_value,test_p_value_holm,stage");
  CHECK_THAT(lines[1], Contains("adam_mini,0.003,adam_mini,3,0,0,0,0,1.83333333333333"));
  CHECK_THAT(lines[1], Contains(",1051648,3145728,0.03,"));
  CHECK_THAT(lines[5], Contains("\"a,\"\"b\"\"\",0.5,\"a,\"\"b\"\"\",1,0,0,0,0,9.0,,,"));
}

TEST_CASE("Report: JSON has everything") {
  ExampleSweep sweep;
  fill(sweep);
  const auto json = nlohmann::json::parse(report_json(make_report(sweep.path())));
  CHECK(json["name"] == "example");
  CHECK(json["groups"][0]["swept"][0]["position"] == "highest");
  CHECK(json["groups"][0]["configurations"] == 2);
  const auto& best = json["configurations"][json["groups"][0]["best_configuration"].get<int>()];
  CHECK(best["settings"]["optimizer.learning_rate"] == "0.003");
  CHECK(best["final_losses"]["2"] == 1.8402);
  CHECK(best["p_value"].get<double>() == Approx(0.03206496834175041));
  CHECK(json["configurations"][1]["is_baseline"] == true);
  CHECK(json["configurations"][1]["p_value"].is_null());
}

TEST_CASE("Report: a single run") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "my-run");
  auto recorder = create_example_run(folder / "my-run/run.h5");
  recorder.record(example_step(1));
  recorder.record(example_evaluation(1, 2.25));
  recorder.set_status(RunState::finished, "", 1);
  recorder.close();
  const auto report = make_report(folder / "my-run/");
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].final_losses == std::map<std::int64_t, double>{{3, 2.25}});
  CHECK(report.warnings.empty());
  const auto text = report_table(report);
  CHECK_THAT(text, Contains("my-run: validation loss"));
  CHECK_THAT(text, Contains("2.2500"));
  CHECK(text.find("All configurations") == std::string::npos);
}

TEST_CASE("Report: a folder that is neither, and damaged manifests") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(make_report(folder.path()), Contains("neither the folder of a sweep"));
  CHECK_THROWS_AS(make_report(folder / "none"), InputError);
  const auto error_of = [&](const std::string& text) -> std::string {
    write_file_atomically(folder / "manifest.json", text);
    try {
      make_report(folder.path());
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  CHECK_THAT(error_of("{"), Contains("manifest.json:1:2: not JSON"));
  CHECK_THAT(error_of("[]"), Contains("manifest.json: the file is a list, no object with keys"));
  CHECK_THAT(error_of(R"({"format":"other","version":1})"),
             Contains("not the manifest of a sweep"));
  const auto error_with = [&](const std::string& member) {
    return error_of(R"({"format":"blockwise-sweep","version":1,"name":"x","hash":"0",)"
                    R"("baseline":"a","members":[)" +
                    member + "]}");
  };
  CHECK_THAT(error_of(R"({"format":"blockwise-sweep","version":1,"name":"x","baseline":"a"})"),
             Contains("manifest.json: 'hash' is missing"));
  CHECK_THAT(error_with(R"({"group":"a"})"), Contains("'members[0].config' is missing"));
  CHECK_THAT(error_with("7"), Contains("'members[0]' is 7, no object with keys"));
  CHECK_THAT(error_with(R"({"config":"c","run":"../../r","id":"i"})"),
             Contains("'members[0].run' is '../../r', no path inside the sweep's folder"));
  CHECK_THAT(error_with(R"({"config":"/c","run":"r","id":"i"})"),
             Contains("'members[0].config' is '/c'"));
  CHECK_THAT(error_with(R"({"config":"c","run":"r","id":".."})"),
             Contains("'members[0].id' is no name"));
  CHECK_THAT(error_with(R"({"config":"c","run":"r","id":"i","group":"a\u001b[2J"})"),
             Contains("'members[0].group' is no name") && Contains("\\x1b"));
  CHECK_THAT(error_with(R"({"config":"c","run":"r","id":"i","group":"a","seed":1.5})"),
             Contains("'members[0].seed' is 1.5, no whole number"));
}

TEST_CASE("Report: a run of something else is named and stands in no row") {
  ExampleSweep sweep;
  fill(sweep);
  sweep.set_hash("adam_mini-lr0.003-s2", "another");
  const auto report = make_report(sweep.path());
  const auto& row = row_of(report, "adam_mini", "0.003");
  CHECK((row.seeds.finished == 2 && row.seeds.failed == 1));
  CHECK(row.final_losses.count(2) == 0);
  REQUIRE(!report.warnings.empty());
  CHECK_THAT(report.warnings.front(),
             Contains("'adam_mini-lr0.003-s2' ran another configuration (hash 0123456789abcdef) "
                      "than the manifest says (another)"));
}

TEST_CASE("Report: a manifest without hashes opens, and says that nothing was checked") {
  ExampleSweep sweep;
  fill(sweep);
  sweep.remove_hashes();
  const auto report = make_report(sweep.path());
  CHECK(row_of(report, "adam_mini", "0.003").seeds.finished == 3);
  REQUIRE(!report.warnings.empty());
  CHECK_THAT(report.warnings.front(), Contains("without the hashes of its members"));
}

TEST_CASE("Report: what a file says cannot steer the terminal") {
  ExampleSweep sweep;
  fill(sweep);
  auto report = make_report(sweep.path());
  report.name = "na\x1b[31mme";
  report.warnings = {"line\nbreak"};
  const auto text = report_table(report);
  CHECK_THAT(text, Contains("na\\x1b[31mme: validation loss") && Contains("line\\x0abreak"));
}
