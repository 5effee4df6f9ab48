#include "tests/support/small_run.hpp"

#include <fmt/format.h>

#include <vector>

#include "core/data/token_file.hpp"
#include "core/io/atomic_file.hpp"

namespace blockwise::testing {
namespace {

// A walk whose next token depends on the last one: something to learn, without any text.
void write_tokens(const std::filesystem::path& path, std::int64_t count, std::uint64_t state) {
  std::vector<std::uint16_t> tokens;
  std::uint16_t token = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto noise = static_cast<std::uint16_t>(state >> 62);
    token = static_cast<std::uint16_t>((token * 5 + 3 + noise) % 64);
    tokens.push_back(token);
  }
  TokenFileWriter writer(path);
  writer.append(tokens);
  writer.finish();
}

}  // namespace

void write_small_corpus(const std::filesystem::path& folder, std::int64_t tokens) {
  std::filesystem::create_directories(folder);
  write_tokens(folder / "train.bin", tokens, 1);
  write_tokens(folder / "validation.bin", tokens / 4, 2);
  const auto split = [](const std::string& name, std::int64_t count) {
    return fmt::format(
        R"("{0}":{{"tokens":{1},"bytes":{1},"shards":[{{"file":"{0}.bin","tokens":{1}}}]}})", name,
        count);
  };
  write_file_atomically(
      folder / "manifest.json",
      fmt::format(R"({{"format":"blockwise-tokens","version":1,"tokenizer":"byte",)"
                  R"("vocab_size":64,"files":{{{},{}}}}})",
                  split("train", tokens), split("validation", tokens / 4)));
}

std::string small_run_yaml(const std::filesystem::path& folder, std::int64_t steps) {
  return fmt::format(R"(name: small
output: {0}/run
data:
  train: {0}/train.bin
  validation: {0}/validation.bin
  sequence_length: 16
  validation_tokens: 256
model:
  family: llama
  n_layer: 1
  n_head: 2
  n_embd: 16
  dropout: 0.1
optimizer:
  rule: adam_mini
  learning_rate: 1.0e-2
  weight_decay: 0.1
schedule:
  warmup_steps: 3
trainer:
  steps: {1}
  micro_batch_size: 4
  global_batch_tokens: 128
  evaluate_every: 4
  checkpoint_every: 3
  keep_checkpoints: 100
  threads: 1
)",
                     folder.string(), steps);
}

SmallRunFolder::SmallRunFolder(std::int64_t steps, const std::string& more)
    : config((folder / "run.yaml").string()) {
  write_small_corpus(folder.path());
  write_file_atomically(config, small_run_yaml(folder.path(), steps) + more);
}

ProgramResult SmallRunFolder::run(std::vector<std::string> arguments,
                                  const std::string& prefix) const {
  arguments.insert(arguments.begin() + 1, config);
  return run_program(arguments, prefix);
}

}  // namespace blockwise::testing
