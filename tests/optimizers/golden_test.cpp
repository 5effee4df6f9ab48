// Ten steps of torch.optim.AdamW and Muon and of the packages adam-mini 1.1.1, galore-torch 1.0 and
// lomo-optim 0.1.1, all parameters after each step (tests/golden/record_optimizers.py and
// record_matrix_rules.py).
#include "core/io/safetensors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

void check_recorded(const std::string& file, const std::string& family, const nlohmann::json& model,
                    nlohmann::json optimizer_fields, double tolerance = 1e-6) {
  INFO(file);
  const auto recorded = read_safetensors(BLOCKWISE_SOURCE_DIR "/tests/golden/" + file);
  nlohmann::json sizes = {{"vocab_size", 11}, {"block_size", 6}, {"n_layer", 2}, {"n_embd", 8}};
  sizes.update(model);
  ParameterStore store(model_spec(family, sizes)->layout(), at::kCPU);
  fill_parameters(store);
  optimizer_fields["weight_decay"] = 0.1;
  if (!optimizer_fields.contains("gradient_clip")) optimizer_fields["gradient_clip"] = 0.0;
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
    CHECK(error.max().item<double>() < tolerance);
  }
}

const nlohmann::json kAdam = {{"rule", "adamw"}, {"beta1", 0.9}, {"beta2", 0.95}};

const nlohmann::json kReleased = {{"rule", "adam_mini"},
                                  {"beta1", 0.9},
                                  {"beta2", 0.95},
                                  {"partition", {{"rule", "released_1_1_1"}}}};

}  // namespace

TEST_CASE("AdamW is torch.optim.AdamW") {
  check_recorded("adamw.safetensors", "gpt2", {{"n_head", 2}}, kAdam);
}

TEST_CASE("Muon is torch.optim.Muon, with AdamW at a rate of its own for the rest") {
  auto other = kAdam;
  other["learning_rate"] = 0.3e-2;  // 0.3 of the optimizer's at every step
  check_recorded("muon_float32.safetensors", "gpt2", {{"n_head", 2}},
                 {{"rule", "muon"}, {"newton_schulz_type", "float32"}, {"fallback", other}},
                 // Five polynomials of degree five multiply a rounding by up to 3.4 each.
                 2e-5);
  // bfloat16 keeps 8 bits, and which bit a product ends in depends on the instructions of the CPU:
  // a few units of 2^-9 of a step that is as long as the way. A wrong coefficient is 0.1 and more.
  check_recorded("muon.safetensors", "gpt2", {{"n_head", 2}},
                 {{"rule", "muon"}, {"rate_scale", "original"}, {"fallback", other}}, 0.03);
}

TEST_CASE("GaLore is the published package, over two changes of the projection") {
  auto inner = kAdam;
  inner["eps"] = 1e-20;
  check_recorded("galore.safetensors", "gpt2", {{"n_head", 2}},
                 {{"rule", "galore"},
                  {"rank", 3},
                  {"update_every", 4},
                  {"no_decay", {"token_embedding", "position_embedding", "norm", "bias"}},
                  {"inner", inner}},
                 // Two decompositions and products of length 32 stand between gradient and step.
                 1e-5);
}

TEST_CASE("LOMO is the published package, its clipping included") {
  check_recorded("lomo.safetensors", "gpt2", {{"n_head", 2}},
                 {{"rule", "lomo"}, {"gradient_clip", 0.5}, {"no_decay", nlohmann::json::array()}});
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
