// A sweep's folder made by hand, for tests of what reports on it.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/io/atomic_file.hpp"
#include "tests/support/example_run.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {

// A sweep's folder, filled run by run.
class ExampleSweep {
 public:
  explicit ExampleSweep(const std::string& baseline = "adamw")
      : manifest_({{"format", "blockwise-sweep"},
                   {"version", 1},
                   {"name", "example"},
                   {"hash", "00"},
                   {"baseline", baseline},
                   {"members", nlohmann::json::array()}}) {}

  std::filesystem::path path() const { return folder_.path(); }

  // Adds a member without its run to a list of the manifest; returns the path of its run file.
  std::filesystem::path plan(const std::string& group, double rate, std::int64_t seed,
                             const std::map<std::string, double>& more = {},
                             const char* list = "members") {
    auto id = fmt::format("{}-lr{}-s{}", group, rate, seed);
    for (const auto& [key, value] : more) id += fmt::format("-{}{}", key, value);
    const auto run = "members/" + id + "/run.h5";
    nlohmann::json overrides = {{"optimizer.rule", group}, {"optimizer.learning_rate", rate}};
    for (const auto& [key, value] : more) overrides[key] = value;
    manifest_[list].push_back({{"id", id},
                               {"group", group},
                               {"seed", seed},
                               {"overrides", overrides},
                               {"config_hash", example_header().config_hash},
                               {"config", "members/" + id + "/config.yaml"},
                               {"run", run}});
    write_file_atomically(path() / "manifest.json", manifest_.dump());
    std::filesystem::create_directories((path() / run).parent_path());
    return path() / run;
  }

  // A run whose loss falls to 0.1 below its final one before the end.
  void add(const std::string& group, double rate, std::int64_t seed, double loss,
           RunState state = RunState::finished, const std::map<std::string, double>& more = {}) {
    record(plan(group, rate, seed, more), seed, loss, state);
  }

  // The same as a confirmation, with a test set where `test` is not 0.
  void confirm(const std::string& group, double rate, std::int64_t seed, double loss,
               double test = 0.0) {
    record(plan(group, rate, seed, {}, "confirmations"), seed, loss, RunState::finished, test);
  }

  // Seeds on which the runs that follow say that their partition was found.
  void found_on(const std::vector<std::int64_t>& seeds) { found_on_ = seeds; }

  void set_hash(const std::string& id, const std::string& hash) {
    for (auto& member : manifest_["members"]) {
      if (member["id"] == id) member["config_hash"] = hash;
    }
    write_file_atomically(path() / "manifest.json", manifest_.dump());
  }

  // As versions before them wrote it.
  void remove_hashes() {
    for (auto& member : manifest_["members"]) member.erase("config_hash");
    write_file_atomically(path() / "manifest.json", manifest_.dump());
  }

 private:
  void record(const std::filesystem::path& path, std::int64_t seed, double loss, RunState state,
              double test = 0.0) {
    auto header = example_header();
    header.state_bytes = {{"exp_avg", 1 << 20}, {"exp_avg_sq", seed * 1024}};
    header.has_test = test != 0.0;
    header.found_on = found_on_;
    auto recorder = create_example_run(path, header);
    for (std::int64_t step = 1; step <= 5; ++step) recorder.record(example_step(step));
    recorder.record(example_evaluation(0, 5.5));
    recorder.record(example_evaluation(3, loss - 0.1));
    recorder.record(example_evaluation(5, loss));
    recorder.record_memory(seed << 20, 0);
    if (header.has_test) recorder.record(TestRecord{5, 500, 1000, test, std::exp(test), 0.5});
    recorder.set_status(state, "", 5);
    recorder.close();
  }

  std::vector<std::int64_t> found_on_;
  TemporaryFolder folder_;
  nlohmann::json manifest_;
};

}  // namespace blockwise::testing
