// A sweep over small runs, run by the program.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/io/input_file.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

namespace blockwise::testing {

struct SmallSweep : SmallRunFolder {
  using Words = std::vector<std::string>;

  // `section`: that of the YAML, and what else stands behind the run.
  SmallSweep(std::int64_t steps, const std::string& section) : SmallRunFolder(steps, section) {}

  // Two members at a time; with a last word for machines, or for people.
  ProgramResult sweep(Words more = {}) const {
    more.insert(more.begin(), {"sweep", "--jobs", "2", "--json"});
    return run(more);
  }
  ProgramResult sweep_in_words(Words more = {}) const {
    more.insert(more.begin(), {"sweep", "--jobs", "2"});
    return run(more);
  }
  std::filesystem::path member(const std::string& id) const { return folder / "run/members" / id; }
  std::filesystem::path run_file(const std::string& id) const { return member(id) / "run.h5"; }
  RunResult result(const std::string& id) const { return read_run(run_file(id)); }
  bool finished(const std::string& id) const {
    return std::filesystem::exists(run_file(id)) && result(id).state == RunState::finished;
  }
  nlohmann::json manifest() const {
    return nlohmann::json::parse(read_text_file(folder / "run/manifest.json"));
  }
  ProgramResult report(Words more = {}) const {
    more.insert(more.begin(), {"report", (folder / "run").string()});
    return run_program(more);
  }
  nlohmann::json report_json(Words more = {}) const {
    more.insert(more.begin(), "--json");
    const auto result = report(more);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return nlohmann::json::parse(result.output);
  }
};

// Of the sweep's last word.
inline std::string sweep_counts(int finished, int failed = 0, int unfinished = 0) {
  return R"("finished":)" + std::to_string(finished) + R"(,"diverged":0,"failed":)" +
         std::to_string(failed) + R"(,"unfinished":)" + std::to_string(unfinished);
}

}  // namespace blockwise::testing
