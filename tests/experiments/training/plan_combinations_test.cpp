// The plan against what runs measure, over combinations of everything that it depends on.
#include <fmt/format.h>

#include "core/base/random_stream.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/training/memory_plan.hpp"
#include "experiments/training/trainer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

// Draws of one combination.
class Draws {
 public:
  explicit Draws(std::uint64_t combination) : combination_(combination) {}

  std::int64_t among(std::vector<std::int64_t> values) { return values[index(values.size())]; }
  std::string word(std::vector<std::string> values) { return values[index(values.size())]; }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(index(static_cast<std::uint64_t>(high - low + 1)));
  }

 private:
  std::uint64_t index(std::uint64_t count) {
    return stream_seed(15, RandomStream::probe, combination_, draw_++) % count;
  }
  std::uint64_t combination_;
  std::uint64_t draw_ = 0;
};

struct Combination {
  std::string precision;
  std::string yaml;
};

// Wide enough that tensors and not bookkeeping are what is measured.
std::string model_yaml(Draws& draws) {
  const auto family = draws.word({"gpt2", "llama"});
  const auto vocabulary = draws.between(64, 2500), layers = draws.between(1, 4);
  const auto heads = draws.among({2, 4, 6}), head_width = draws.among({16, 24, 32});
  const auto tied = draws.word({"true", "false"}), option = draws.word({"true", "false"});
  const auto sizes = fmt::format(
      "family: {}, vocab_size: {}, n_layer: {}, n_head: {}, n_embd: {}, tie_word_embeddings: {}",
      family, vocabulary, layers, heads, heads * head_width, tied);
  if (family == "llama") {
    return sizes + fmt::format(", qk_norm: {}, n_kv_head: {}", option, heads / draws.among({1, 2}));
  }
  return sizes + fmt::format(", bias: {}, dropout: {}", option, draws.word({"0.0", "0.0", "0.1"}));
}

std::string trainer_yaml(Draws& draws, const std::string& precision, std::int64_t length) {
  const auto batch = draws.between(1, 8), accumulated = draws.between(1, 2);
  const auto chunk = draws.among({0, 0, draws.between(8, 512)});
  return fmt::format(
      "steps: 1, micro_batch_size: {}, global_batch_tokens: {}, threads: 1, precision: {}, "
      "activation_checkpointing: {}, loss_chunk_tokens: {}",
      batch, batch * length * accumulated, precision, draws.word({"true", "false"}), chunk);
}

Combination combination(std::uint64_t number, const std::filesystem::path& folder) {
  Draws draws(number);
  const auto model = model_yaml(draws);
  const auto precision = draws.word({"fp32", "bf16", "bf16_autocast"});
  const auto length = draws.between(16, 256);
  const auto rule = draws.word({"adamw", "adam_mini", "sgd_momentum"});
  const auto trainer = trainer_yaml(draws, precision, length);
  const auto linear = draws.word({"exact", "exact", "switchback"});
  return {
      precision,
      fmt::format("name: plan\noutput: {0}/run\n"
                  "data: {{kind: tokens, train: {0}/train.bin, validation: "
                  "{0}/validation.bin, sequence_length: {1}, validation_tokens: 256}}\n"
                  "model: {{{2}, linear: {5}}}\noptimizer: {{rule: {3}, learning_rate: 1.0e-3}}\n"
                  "trainer: {{{4}}}\n",
                  folder.string(), length, model, rule, trainer, linear)};
}

}  // namespace

// Exact in float32 but for some bytes of the sampler's. In bfloat16 the CPU's mixed products widen
// an operand first, which the meta device does not know.
TEST_CASE("The plan predicts the peak of random combinations", "[plan]") {
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  constexpr std::uint64_t kCombinations = 16;
  for (std::uint64_t number = 0; number < kCombinations; ++number) {
    const auto [precision, yaml] = combination(number, folder.path());
    INFO("combination " << number << "\n" << yaml);
    const auto config = YamlDocument::parse(yaml, "plan.yaml").run_config();
    const auto planned = plan_memory(config).peak_bytes;
    std::filesystem::remove_all(folder / "run");
    train(resolve(config), {[](const StepRecord&) {}});
    const auto measured = read_run(folder / "run/run.h5").peak_allocated;
    INFO("planned " << planned << ", measured " << measured);
    const double tolerance = precision == "fp32" ? 0.01 : 0.02;
    CHECK(std::abs(double(planned) / double(measured) - 1.0) < tolerance);
  }
}

// Rules that have no kernel: what their tensor operations need is most of the peak.
TEST_CASE("The plan predicts the peak of updates by tensor operations", "[plan]") {
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  for (const std::string rule : {"adafactor", "muon", "foam", "came", "extreme_tensoring"}) {
    for (const std::string gradients : {"kept", "released"}) {
      INFO(rule << ", gradients " << gradients);
      const auto yaml = fmt::format(
          "name: plan\noutput: {0}/run\n"
          "data: {{kind: tokens, train: {0}/train.bin, validation: {0}/validation.bin, "
          "sequence_length: 16, validation_tokens: 64}}\n"
          "model: {{family: gpt2, vocab_size: 256, n_layer: 1, n_head: 4, n_embd: 128}}\n"
          "optimizer: {{rule: {1}, learning_rate: 1.0e-3}}\n"
          "trainer: {{steps: 1, micro_batch_size: 1, threads: 1, gradients: {2}}}\n",
          folder.path().string(), rule, gradients);
      const auto config = YamlDocument::parse(yaml, "plan.yaml").run_config();
      const auto plan = plan_memory(config);
      CHECK(plan.updates_note.empty());
      std::filesystem::remove_all(folder / "run");
      train(resolve(config), {[](const StepRecord&) {}});
      const auto measured = read_run(folder / "run/run.h5").peak_allocated;
      INFO("planned " << plan.peak_bytes << ", measured " << measured);
      CHECK(std::abs(double(plan.peak_bytes) / double(measured) - 1.0) < 0.01);
    }
  }
}
