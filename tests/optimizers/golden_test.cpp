// Ten steps of torch.optim.AdamW and of the package adam-mini 1.1.1, all parameters after each step
// (tests/golden/record_optimizers.py).
#include "core/io/safetensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

void check_recorded(const std::string& file, const std::string& family, const nlohmann::json& model,
                    nlohmann::json optimizer_fields) {
  INFO(file);
  const auto recorded = read_safetensors(BLOCKWISE_SOURCE_DIR "/tests/golden/" + file);
  nlohmann::json sizes = {{"vocab_size", 11}, {"block_size", 6}, {"n_layer", 2}, {"n_embd", 8}};
  sizes.update(model);
  ParameterStore store(model_spec(family, sizes)->layout(), at::kCPU);
  fill_parameters(store);
  optimizer_fields.update(
      {{"beta1", 0.9}, {"beta2", 0.95}, {"weight_decay", 0.1}, {"gradient_clip", 0.0}});
  Optimizer optimizer(optimizer_config(optimizer_fields), store);
  REQUIRE(recorded.tensors.size() == 10);
  for (int step = 0; step < 10; ++step) {
    fill_gradients(store, step);
    const double rate = 0.01 * (1.0 - 0.05 * step);
    optimizer.step(rate);
    const auto expected = recorded.tensor(fmt::format("step_{:02}", step + 1)).to(at::kDouble);
    const auto actual = store.parameters().to(at::kDouble);
    // 1e-6 of a weight and of the way it may have come: a weight near zero keeps the roundings of
    // the size that it had. A wrong block, decay or order of operations is 1e-3 and more.
    const auto error = (actual - expected).abs() / (expected.abs() + 0.01 * (step + 1));
    INFO("step " << step + 1);
    CHECK(error.max().item<double>() < 1e-6);
  }
}

const nlohmann::json kReleased = {{"rule", "adam_mini"},
                                  {"partition", {{"rule", "released_1_1_1"}}}};

}  // namespace

TEST_CASE("AdamW is torch.optim.AdamW") {
  check_recorded("adamw.safetensors", "gpt2", {{"n_head", 2}}, {{"rule", "adamw"}});
}

TEST_CASE("released_1_1_1 is the published package, on nanoGPT with biases") {
  check_recorded("adam_mini_nanogpt.safetensors", "gpt2", {{"n_head", 2}}, kReleased);
}

TEST_CASE("released_1_1_1 is the published package, on LLaMA with grouped queries") {
  check_recorded("adam_mini_llama.safetensors", "llama",
                 {{"n_head", 4}, {"n_kv_head", 2}, {"intermediate_size", 12}}, kReleased);
}

TEST_CASE("released_1_1_1 cuts heads in half where the published package does") {
  check_recorded("adam_mini_half_heads.safetensors", "llama",
                 {{"n_head", 4},
                  {"n_kv_head", 2},
                  {"head_dim", 4},
                  {"intermediate_size", 12},
                  {"tie_word_embeddings", true}},
                 kReleased);
}

TEST_CASE("The recorded trajectories tell partitions apart") {
  // The comparison above would fail by far on the paper's partition.
  const auto recorded =
      read_safetensors(BLOCKWISE_SOURCE_DIR "/tests/golden/adam_mini_llama.safetensors");
  ParameterStore store(model_spec("llama", {{"vocab_size", 11},
                                            {"block_size", 6},
                                            {"n_layer", 2},
                                            {"n_embd", 8},
                                            {"n_head", 4},
                                            {"n_kv_head", 2},
                                            {"intermediate_size", 12}})
                           ->layout(),
                       at::kCPU);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config({{"rule", "adam_mini"}, {"gradient_clip", 0.0}}), store);
  fill_gradients(store, 0);
  optimizer.step(0.01);
  CHECK((store.parameters() - recorded.tensor("step_01")).abs().max().item<double>() > 1e-3);
}
