// Small data and configurations that train in a second.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/program.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {

// train.bin and validation.bin with `tokens` pseudo-random, learnable byte tokens, and
// manifest.json.
void write_small_corpus(const std::filesystem::path& folder, std::int64_t tokens = 6000);

// A run of a 1-layer LLaMA of width 16 on that corpus; `steps` steps with evaluation and
// checkpoints.
std::string small_run_yaml(const std::filesystem::path& folder, std::int64_t steps = 12);

// A folder with that corpus and run.yaml, that run with `more` behind it.
struct SmallRunFolder {
  TemporaryFolder folder;
  std::string config;  // the path of run.yaml

  explicit SmallRunFolder(std::int64_t steps, const std::string& more = "");
  // The program with run.yaml behind the first of the arguments, the verb.
  ProgramResult run(std::vector<std::string> arguments, const std::string& prefix = "") const;
};

}  // namespace blockwise::testing
