// The hash that says whether a folder's run is that of a configuration.
#include "experiments/config/config_text.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;

namespace {

std::string hash_of(const std::string& model) {
  const auto yaml =
      "name: h\n"
      "data: {kind: markov_tokens, vocab_size: 16, sequence_length: 8, tokens: 64, "
      "validation_tokens: 16}\n"
      "model: {n_layer: 1, n_head: 2, n_embd: 8, " +
      model +
      "}\n"
      "optimizer: {rule: adamw, learning_rate: 1.0e-3}\n"
      "trainer: {steps: 1, micro_batch_size: 2, threads: 1}\n";
  return resolve(YamlDocument::parse(yaml, "h.yaml").run_config()).hash;
}

}  // namespace

// Recorded before model.activation, model.mlp_bias and the fields of yarn were there. A new field
// changes them: see kLaterFields.
TEST_CASE("A run of an older version can be continued: its configuration's hash is the same") {
  CHECK(hash_of("family: gpt2") == "c58e7359379f8b24");
  CHECK(hash_of("family: llama") == "c84ff2d5a8316931");
  CHECK(hash_of("family: gpt2, activation: gelu") != hash_of("family: gpt2"));
  CHECK(hash_of("family: llama, mlp_bias: true") != hash_of("family: llama"));
  CHECK(hash_of("family: llama, rope_scaling: {kind: yarn, beta_fast: 31}") !=
        hash_of("family: llama, rope_scaling: {kind: yarn}"));
}
