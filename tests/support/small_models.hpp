// One small model per variant of every family: what the properties of layouts, partitions,
// gradients and optimizers are checked on.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <string>
#include <vector>

#include "tests/support/set_fields.hpp"

namespace blockwise::testing {

struct SmallModel {
  std::string name;
  std::string family;
  nlohmann::json fields;

  std::unique_ptr<ModelSpec> spec() const { return model_spec(family, fields); }
};

inline std::vector<SmallModel> small_models() {
  const nlohmann::json gpt2 = {
      {"vocab_size", 11}, {"block_size", 6}, {"n_layer", 2}, {"n_head", 2}, {"n_embd", 8}};
  const nlohmann::json llama = {{"vocab_size", 11}, {"block_size", 6}, {"n_layer", 2},
                                {"n_head", 4},      {"n_embd", 8},     {"intermediate_size", 12}};
  const auto with = [](nlohmann::json base, const nlohmann::json& changes) {
    base.update(changes);
    return base;
  };
  return {
      {"gpt2 tied", "gpt2", gpt2},
      {"gpt2 untied", "gpt2", with(gpt2, {{"tie_word_embeddings", false}})},
      {"gpt2 without biases", "gpt2", with(gpt2, {{"bias", false}})},
      {"llama MHA", "llama", llama},
      {"llama GQA", "llama", with(llama, {{"n_kv_head", 2}})},
      {"llama MQA, wide heads", "llama", with(llama, {{"n_kv_head", 1}, {"head_dim", 6}})},
      {"llama tied", "llama", with(llama, {{"tie_word_embeddings", true}})},
      {"mlp", "mlp", {{"inputs", 5}, {"classes", 3}, {"hidden", {7, 4}}, {"activation", "gelu"}}},
      {"mlp without biases",
       "mlp",
       {{"inputs", 5}, {"classes", 3}, {"hidden", {7}}, {"bias", false}, {"activation", "tanh"}}},
  };
}

// Fixed examples that fit the small model.
inline Batch small_batch(const SmallModel& model) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(17);
  if (model.family == "mlp") {
    return {at::randn({4, 5}, generator, at::kDouble), at::randint(3, {4}, generator, at::kLong)};
  }
  return {at::randint(11, {2, 5}, generator, at::kLong),
          at::randint(11, {2, 5}, generator, at::kLong)};
}

}  // namespace blockwise::testing
