// Small data and configurations that train in a second.
#pragma once

#include <filesystem>
#include <string>

namespace blockwise::testing {

// train.bin and validation.bin with `tokens` pseudo-random, learnable byte tokens, and
// manifest.json.
void write_small_corpus(const std::filesystem::path& folder, std::int64_t tokens = 6000);

// A run of a 1-layer LLaMA of width 16 on that corpus; `steps` steps with evaluation and
// checkpoints.
std::string small_run_yaml(const std::filesystem::path& folder, std::int64_t steps = 12);

}  // namespace blockwise::testing
