// Small runs that are trained, stopped and continued under settings of one kind.
#pragma once

#include "core/io/input_file.hpp"
#include "experiments/records/checkpoint.hpp"
#include "experiments/records/run_recorder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"

namespace blockwise::testing {

using Settings = std::vector<std::string>;

inline Settings with(Settings settings, const std::string& more) {
  settings.push_back(more);
  return settings;
}

// Runs of 24 steps, named within one folder, all with the setting `common`.
class TrainedRuns : public SmallRunFolder {
 public:
  explicit TrainedRuns(std::string common) : SmallRunFolder(24), common_(std::move(common)) {}

  ProgramResult train(const std::string& name, const Settings& settings) const {
    Settings words = {"train", "--output", (folder / name).string(), "--set", common_};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    return run(words);
  }
  RunResult trained(const std::string& name, const Settings& settings) const {
    const auto result = train(name, settings);
    INFO(result.errors);
    REQUIRE(result.exit_code == 0);
    return read_run(folder / name / "run.h5");
  }
  std::string file(const std::string& name, std::int64_t step, const char* file) const {
    return read_text_file(checkpoint_folder(folder / name, step) / file);
  }
  // The whole run's last checkpoint is, byte for byte, that of one that stopped after 11 steps.
  void require_continues(const Settings& settings) const {
    const auto all = with(settings, "schedule.steps=24");
    trained("whole", all);
    trained("cut", with(all, "trainer.steps=11"));
    trained("cut", all);
    for (const auto* name : {"parameters.safetensors", "optimizer.safetensors"}) {
      CHECK(file("whole", 24, name) == file("cut", 24, name));
    }
  }

 private:
  std::string common_;
};

}  // namespace blockwise::testing
