// The plan against what runs measure, and against published numbers.
#include "experiments/training/memory_plan.hpp"
#include "core/base/error.hpp"
#include "core/io/atomic_file.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Variation {
  std::string key;
  std::vector<std::string> values;
};

// Large enough that tensors, not bookkeeping, are what is measured: some MB.
std::string yaml(const std::filesystem::path& folder, const std::string& family) {
  return fmt::format(
      "name: plan\noutput: {0}/run\n"
      "data: {{kind: tokens, train: {0}/train.bin, validation: {0}/validation.bin, "
      "sequence_length: 64, validation_tokens: 512}}\n"
      "model: {{family: {1}, n_layer: 3, n_head: 4, n_embd: 64}}\n"
      "optimizer: {{rule: adamw, learning_rate: 1.0e-3}}\n"
      "trainer: {{steps: 2, micro_batch_size: 4, threads: 1}}\n",
      folder.string(), family);
}

struct Measured {
  std::int64_t planned, peak;
};

Measured measure(const TemporaryFolder& folder, const std::string& family,
                 const std::vector<std::pair<std::string, std::string>>& settings) {
  auto document = YamlDocument::parse(yaml(folder.path(), family), "plan.yaml");
  for (const auto& [key, value] : settings) document.set(key, value, "test");
  const auto config = document.run_config();
  const auto plan = plan_memory(config);
  std::filesystem::remove_all(folder / "run");
  train(resolve(config), {[](const StepRecord&) {}});
  return {plan.peak_bytes, read_run(folder / "run/run.h5").peak_allocated};
}

MemoryPlan plan_of(const std::string& file,
                   const std::vector<std::pair<std::string, std::string>>& settings) {
  auto document =
      YamlDocument::load(std::filesystem::path(BLOCKWISE_SOURCE_DIR) / "configs" / file);
  for (const auto& [key, value] : settings) document.set(key, value, "test");
  return plan_memory(document.run_config());
}

}  // namespace

// In float32 the plan is exact but for the sampler's few bytes. In bfloat16 the scratch of large
// products is that of smaller ones.
double tolerance(const std::string& precision) { return precision == "fp32" ? 0.01 : 0.02; }

TEST_CASE("The plan predicts the measured peak over every option", "[plan]") {
  const std::vector<Variation> variations = {
      {"trainer.micro_batch_size", {"1", "8"}},
      {"data.sequence_length", {"32", "200"}},
      {"trainer.precision", {"fp32", "bf16", "bf16_autocast"}},
      {"trainer.activation_checkpointing", {"true"}},
      {"trainer.loss_chunk_tokens", {"32"}},
      {"model.dropout", {"0.1"}},
      {"optimizer.rule", {"adam_mini", "sgd_momentum"}},
      {"trainer.global_batch_tokens", {"512"}},
      {"trainer.gradients", {"released"}},
  };
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  for (const std::string family : {"gpt2", "llama"}) {
    for (const auto& variation : variations) {
      for (const auto& value : variation.values) {
        INFO(family << " " << variation.key << " " << value);
        const auto [planned, peak] = measure(folder, family, {{variation.key, value}});
        INFO("planned " << planned << ", measured " << peak);
        CHECK(peak > 500'000);
        const bool is_precision = variation.key == "trainer.precision";
        CHECK(std::abs(double(planned) / double(peak) - 1.0) <
              tolerance(is_precision ? value : "fp32"));
      }
    }
  }
}

TEST_CASE("The plan predicts the peak where options come together", "[plan]") {
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  for (const std::string family : {"gpt2", "llama"}) {
    for (const std::string precision : {"fp32", "bf16", "bf16_autocast"}) {
      for (const std::string checkpointing : {"false", "true"}) {
        INFO(family << " " << precision << " checkpointing " << checkpointing);
        const auto [planned, peak] = measure(folder, family,
                                             {{"trainer.precision", precision},
                                              {"trainer.activation_checkpointing", checkpointing},
                                              {"trainer.loss_chunk_tokens", "64"},
                                              {"optimizer.rule", "adam_mini"},
                                              {"model.n_head", "2"},
                                              {"data.sequence_length", "128"}});
        INFO("planned " << planned << ", measured " << peak);
        CHECK(std::abs(double(planned) / double(peak) - 1.0) < tolerance(precision));
      }
    }
  }
}

// On a device; what it takes at once is in no other test.
TEST_CASE("A recorded pass keeps its memory, and an evaluation takes more", "[plan]") {
  const auto peak = [](const std::string& recorded, const std::string& checkpointing) {
    return plan_of("gpt2/125m.yaml", {{"trainer.device", "cuda"},
                                      {"trainer.activation_checkpointing", checkpointing},
                                      {"trainer.cuda_graph", recorded}})
        .peak_bytes;
  };
  for (const std::string checkpointing : {"false", "true"}) {
    const auto alone = peak("false", checkpointing), recorded = peak("true", checkpointing);
    // The logits of an evaluation, bfloat16: 60 x 1024 of 50,304 classes.
    CHECK(recorded > alone + std::int64_t{2} * 60 * 1024 * 50304);
    CHECK(recorded < 2 * alone);
  }
}

// 2000 classes, so that logits count. In bf16 they are there twice, once in each type, so bfloat16
// saves only where chunks keep them small; masters and gradients stay float32.
TEST_CASE("Checkpointing, chunks and bfloat16 lower the measured peak", "[plan]") {
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  const auto peak = [&](const std::string& chunk, const std::string& checkpointing,
                        const std::string& precision) {
    return double(measure(folder, "llama",
                          {{"model.vocab_size", "2000"},
                           {"trainer.loss_chunk_tokens", chunk},
                           {"trainer.activation_checkpointing", checkpointing},
                           {"trainer.precision", precision}})
                      .peak);
  };
  const auto plain = peak("0", "false", "fp32"), chunked = peak("16", "false", "fp32");
  CHECK(peak("0", "true", "fp32") < 0.8 * plain);
  CHECK(chunked < 0.9 * plain);
  CHECK(peak("16", "false", "bf16") < chunked);
}

// Adam-mini paper, table of optimizer memory, in 10^9 bytes, without masters; the bound is the
// issue's 0.1 %.
// Its GPT-2 1.5B has the biases of Hugging Face's gpt2-xl.
TEST_CASE("Optimizer state of the published models", "[plan]") {
  struct Published {
    std::string file;
    std::vector<std::pair<std::string, std::string>> settings;
    double adamw, adam_mini;
  };
  const std::vector<Published> table = {
      {"llama/7b.yaml", {}, 53.92, 26.96},
      {"llama/llama3-8b.yaml", {}, 64.24, 32.12},
      {"llama/13b.yaml", {}, 104.13, 52.07},
      {"gpt2/1.5b.yaml", {{"model.bias", "true"}}, 12.46, 6.24},
  };
  for (const auto& row : table) {
    INFO(row.file);
    for (const bool mini : {false, true}) {
      auto settings = row.settings;
      settings.emplace_back("optimizer.rule", mini ? "adam_mini" : "adamw");
      const auto plan = plan_of(row.file, settings);
      const auto gigabytes = double(plan.optimizer_bytes() - plan.master_bytes) / 1e9;
      CHECK(gigabytes == Approx(mini ? row.adam_mini : row.adamw).epsilon(1e-3));
    }
  }
}

TEST_CASE("A plan's parts add up, and its FLOPs are the closed form", "[plan]") {
  const auto plan = plan_of("llama/39m.yaml",
                            {{"trainer.precision", "bf16"}, {"trainer.float32_roles", "[norm]"}});
  CHECK(plan.peak_bytes == plan.parameter_bytes + plan.gradient_bytes + plan.optimizer_bytes() +
                               plan.activation_bytes);
  // 39M: 384 wide, 8 layers, MLP 1024, 32000 tokens, sequences of 512.
  const double layer = 4.0 * 384 * 384 + 3.0 * 384 * 1024;
  CHECK(plan.flops_per_token ==
        Approx(6.0 * (8 * layer + 32000.0 * 384) + 12.0 * 512 * 384 * 8).epsilon(1e-12));
  CHECK(plan.master_bytes == 4 * plan.parameters - 4 * 17 * 384);
}

// Address sanitizer's shadow is resident too.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("What a process holds beside its tensors is what the plan says", "[plan]") {
  const SmallRunFolder p(4);
  REQUIRE(p.run({"train"}).exit_code == 0);
  const auto run = read_run(p.folder / "run/run.h5");
  const auto beside = run.peak_resident - run.peak_allocated;
  INFO(beside << " bytes");
  CHECK((beside > kLeastBesideTensors && beside < kMostBesideTensors));
  const auto plan = p.run({"plan", "--json"});
  CHECK_THAT(plan.output, Contains("\"resident_bytes_least\":"));
  CHECK_THAT(p.run({"plan"}).output, Contains("resident, about: from"));
}
#endif

TEST_CASE("Masters are the optimizer's bytes, in the plan as in the run file", "[plan]") {
  const SmallRunFolder p(4);
  auto document = YamlDocument::load(p.config);
  document.set("trainer.precision", "bf16", "test");
  const auto config = document.run_config();
  const auto plan = plan_memory(config);
  train(resolve(config), {[](const StepRecord&) {}});
  const auto run = read_run(p.folder / "run/run.h5");
  CHECK(plan.master_bytes > 0);
  CHECK(plan.optimizer_bytes() == run.optimizer_bytes);
  auto kinds = plan.optimizer;
  std::ranges::sort(kinds);
  CHECK(kinds == run.state_bytes);
  CHECK((plan.parameter_bytes == run.parameter_bytes && plan.gradient_bytes == run.gradient_bytes));
  // The flat parameters are the masters: a checkpoint has them once.
  CHECK(plan.checkpoint_bytes == 4 * plan.parameters + plan.optimizer_bytes() - plan.master_bytes);
}

TEST_CASE("Devices follow from the shards", "[plan]") {
  MemoryPlan plan;
  plan.optimizer = {{"exp_avg", 100}, {"exp_avg_sq", 100}};
  plan.parameter_bytes = plan.gradient_bytes = 100;
  plan.activation_bytes = 50;
  plan.peak_bytes = 450;
  CHECK(devices_state_sharded(plan, 450) == 1);
  CHECK(devices_state_sharded(plan, 350) == 2);
  CHECK(devices_state_sharded(plan, 300) == 4);
  CHECK(devices_state_sharded(plan, 250) == 0);
  CHECK(devices_all_sharded(plan, 250) == 2);
  CHECK(devices_all_sharded(plan, 50) == 0);
}

TEST_CASE("A plan without sizes says what is missing", "[plan]") {
  auto document = YamlDocument::parse(yaml("/nowhere", "llama"), "plan.yaml");
  CHECK_THROWS_WITH(plan_memory(document.run_config()), Contains("vocab_size is 0"));
}

TEST_CASE("A plan says whether a 7B model fits on a device of 80 GB", "[plan]") {
  const auto plan = [](const std::string& rule, const std::string& memory) {
    std::vector<std::string> words = {"plan", BLOCKWISE_SOURCE_DIR "/configs/llama/7b.yaml"};
    const std::vector<std::string> settings = {"optimizer.rule=" + rule,
                                               "trainer.device=cuda",
                                               "trainer.gradients=released",
                                               "trainer.global_batch_tokens=0",
                                               "trainer.micro_batch_size=1",
                                               "trainer.activation_checkpointing=true",
                                               "trainer.master_weights=lossless_16bit"};
    for (const auto& setting : settings) {
      words.insert(words.end(), {"--set", setting});
    }
    if (!memory.empty()) words.insert(words.end(), {"--device-memory", memory});
    return run_program(words);
  };
  const auto mini = plan("adam_mini", "80GB"), adamw = plan("adamw", "80GB");
  CHECK(mini.exit_code == 0);
  CHECK_THAT(mini.output, Contains("It fits: 61.4"));
  CHECK(adamw.exit_code == 1);
  CHECK_THAT(adamw.output, Contains("It does not fit: 87.8") && Contains("has 80.00 GB"));
  CHECK(plan("adamw", "96GB").exit_code == 0);
  CHECK(plan("adamw", "").exit_code == 0);
}

TEST_CASE("Whether a run fits is asked of each process where there are several", "[plan]") {
  const auto plan = [](const std::string& memory) {
    return run_program({"plan", BLOCKWISE_SOURCE_DIR "/configs/llama/7b.yaml", "--set",
                        "parallel.shard=parameters", "--set", "trainer.micro_batch_size=1",
                        "--ranks", "64", "--json", "--device-memory", memory});
  };
  const auto enough = plan("80GB");
  INFO(enough.errors);
  CHECK(enough.exit_code == 0);
  const auto word = nlohmann::json::parse(enough.output);
  CHECK(word["needed_bytes"] > word["each_rank"]["peak_bytes"]);
  CHECK(word["needed_bytes"] < word["peak_bytes"]);
  CHECK(plan("5GB").exit_code == 1);
}

TEST_CASE("A device's memory that is no size is a sentence", "[plan]") {
  const SmallRunFolder p(4);
  for (const auto& memory :
       std::vector<std::string>{"much", "80TB", "-1", "0", "80 GB", "nan", "1e7GiB"}) {
    const auto refused = p.run({"plan", "--device-memory=" + memory});
    INFO(memory << refused.errors);
    CHECK(refused.exit_code == 2);
    CHECK_THAT(refused.errors, Contains("--device-memory: '" + memory + "' is not a size"));
  }
  const auto fits = p.run({"plan", "--device-memory", "0.6GB", "--json"});
  CHECK(fits.exit_code == 0);
  CHECK_THAT(fits.output, Contains("\"fits\":true"));
  const auto small = p.run({"plan", "--device-memory", "0.1", "--json"});
  CHECK(small.exit_code == 1);
  CHECK_THAT(small.output, Contains("\"fits\":false"));
}
