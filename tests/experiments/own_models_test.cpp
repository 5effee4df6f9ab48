// Models that people already have: evaluated, continued, sampled from, exported.
#include <ATen/core/grad_mode.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "core/random_stream.hpp"
#include "experiments/model_source.hpp"
#include "experiments/run_recorder.hpp"
#include "experiments/sampling.hpp"
#include "experiments/token_evaluation.hpp"
#include "experiments/tokenizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

const std::string kGolden = BLOCKWISE_SOURCE_DIR "/tests/golden/hugging_face/";

// A finished small run.
struct SmallRun : SmallRunFolder {
  std::string output;
  SmallRun() : SmallRunFolder(12), output((folder / "run").string()) {
    REQUIRE(run_program({"train", config, "--output", output}).exit_code == 0);
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
};

nlohmann::json last_word(const ProgramResult& result) {
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  return nlohmann::json::parse(result.output);
}

double mean_loss(const Model& model, const at::Tensor& tokens) {
  at::NoGradGuard no_grad;
  ForwardContext context;
  const auto length = tokens.size(0) - 1;
  return model
      .loss({tokens.narrow(0, 0, length).unsqueeze(0), tokens.narrow(0, 1, length).unsqueeze(0)},
            context)
      .item<double>();
}

}  // namespace

TEST_CASE("eval predicts every token but the first once, in windows") {
  const SmallRun small;
  const auto loaded = load_model(small.output, at::kCPU);
  const TokenSequence tokens(find_token_files(small.path("validation.bin")), TokenLayout::llmc);
  const std::int64_t length = 7;
  const auto result = evaluate_tokens(*loaded.model, tokens, at::kCPU, {length, 3}, [](auto) {});
  CHECK(result.targets == tokens.size() - 1);
  REQUIRE(result.loss_by_position.size() == 7);
  // The same, window by window.
  std::vector<std::int64_t> all(static_cast<std::size_t>(tokens.size()));
  tokens.copy(0, tokens.size(), all.data());
  const auto flat = at::tensor(all, at::kLong);
  double sum = 0.0;
  for (std::int64_t begin = 0; begin < result.targets; begin += length) {
    const auto count = std::min(length, result.targets - begin);
    sum += mean_loss(*loaded.model, flat.narrow(0, begin, count + 1)) * double(count);
  }
  // Float32 losses of 7 targets against sums in double.
  CHECK(result.loss == Approx(sum / double(result.targets)).epsilon(1e-6));
  CHECK(result.bits_per_byte(result.targets) == Approx(result.loss / std::log(2.0)));
}

TEST_CASE(
    "A run, its checkpoint and its export evaluate alike, bits per byte come from the manifest") {
  const SmallRun small;
  const auto eval = [&](const std::string& model) {
    return last_word(
        run_program({"eval", "--model", model, "--tokens", small.path("validation.bin"),
                     "--sequence-length", "16", "--json"}));
  };
  REQUIRE(
      run_program({"export", "--model", small.output, "--output", small.path("out")}).exit_code ==
      0);
  const auto run = eval(small.output);
  CHECK(eval(small.path("out"))["loss"] == run["loss"]);
  const auto checkpoint = small.output + "/checkpoints/step_00000012";
  CHECK(eval(checkpoint)["loss"] == run["loss"]);
  CHECK(run["perplexity"].get<double>() == Approx(std::exp(run["loss"].get<double>())));
  CHECK(run["loss_by_position"].size() == 16);
  // 6000 / 4 tokens, one byte each; the first is not predicted.
  CHECK(run["tokens"] == 1499);
  CHECK(run["bits_per_byte"].get<double>() ==
        Approx(run["loss"].get<double>() * 1499 / 1500 / std::log(2.0)));
}

TEST_CASE("A Hugging Face folder evaluates to the loss that transformers gives") {
  const auto folder = kGolden + "llama";
  const auto expected = read_safetensors(folder + "/expected.safetensors");
  const auto loaded = load_model(folder, at::kCPU);
  at::NoGradGuard no_grad;
  ForwardContext context;
  const Batch batch{expected.tensor("tokens"), expected.tensor("targets")};
  CHECK(std::abs(loaded.model->loss(batch, context).item<double>() -
                 expected.tensor("loss").item<double>()) < 1e-5);
}

TEST_CASE("A run starts from a given model and keeps its sizes") {
  const SmallRun small;
  const auto yaml = fmt::format(
      "name: tuned\nmodel: {{from: {0}}}\n"
      "data: {{kind: tokens, train: {1}/train.bin, validation: {1}/validation.bin, "
      "sequence_length: 16, validation_tokens: 256}}\n"
      "optimizer: {{rule: adam_mini, learning_rate: 0.0}}\n"
      "trainer: {{steps: 1, micro_batch_size: 2}}\n",
      small.output, small.folder.path().string());
  write_file_atomically(small.folder / "tuned.yaml", yaml);
  const auto result =
      run_program({"train", small.path("tuned.yaml"), "--output", small.path("tuned")});
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  // A learning rate of 0 changes nothing: the first evaluation is the last one of the first run, up
  // to the order of sums, as the micro-batches differ.
  const auto before = read_run(small.output + "/run.h5"),
             after = read_run(small.path("tuned/run.h5"));
  CHECK(after.evaluations.front().loss == Approx(before.evaluations.back().loss).epsilon(1e-6));
  const auto wrong = run_program({"train", small.path("tuned.yaml"), "--set", "model.family=gpt2"});
  CHECK(wrong.exit_code == 2);
  CHECK_THAT(wrong.errors, Contains("model.family: 'gpt2', but"));
}

TEST_CASE("Mixed precision resumes bit-equal, from float32 masters") {
  const SmallRun small;
  const auto train = [&](const std::string& name, const std::string& steps) {
    return run_program({"train", small.path("run.yaml"), "--output", small.path(name), "--set",
                        "trainer.precision=bf16", "--set", "trainer.activation_checkpointing=true",
                        "--set", fmt::format("trainer.steps={}", steps), "--set",
                        "trainer.checkpoint_every=6"})
        .exit_code;
  };
  REQUIRE(train("whole", "12") == 0);
  REQUIRE(train("cut", "12") == 0);
  // As if it had been killed after step 6.
  fs::remove_all(small.path("cut/checkpoints/step_00000012"));
  {
    auto recorder = RunRecorder::resume(small.path("cut/run.h5"),
                                        read_run(small.path("cut/run.h5")).config_hash, 6);
    recorder.set_status(RunState::interrupted, "", 6);
    recorder.close();
  }
  REQUIRE(train("cut", "12") == 0);
  const auto masters = [&](const std::string& name) {
    return read_safetensors(small.path(name) + "/checkpoints/step_00000012/parameters.safetensors");
  };
  const auto whole = masters("whole"), cut = masters("cut");
  REQUIRE(!whole.tensors.empty());
  for (const auto& [name, tensor] : whole.tensors) {
    INFO(name);
    CHECK(tensor.scalar_type() == at::kFloat);
    CHECK(at::equal(tensor, cut.tensor(name)));
  }
  const auto kinds = read_run(small.path("whole/run.h5")).state_bytes;
  CHECK(std::any_of(kinds.begin(), kinds.end(),
                    [](const auto& kind) { return kind.first == "master_weights"; }));
}

TEST_CASE("Text tokenizers decode bytes and pieces, whole characters come out of the stream") {
  TemporaryFolder folder;
  const auto write = [&](const nlohmann::json& json) {
    std::ofstream(folder / "tokenizer.json") << json;
    return open_tokenizer(folder.path(), 1000);
  };
  // U+0120 is a blank and U+00C3 U+00A9 are the bytes of e-acute in GPT-2's alphabet.
  auto tokenizer = write({{"decoder", {{"type", "ByteLevel"}}},
                          {"model", {{"vocab", {{"\u0120of", 0}, {"\u00C3", 1}, {"\u00A9", 2}}}}},
                          {"added_tokens", {{{"id", 3}, {"content", "<|end|>"}}}}});
  CHECK(tokenizer->decode(0) == " of");
  CHECK(tokenizer->decode(3) == "<|end|>");
  CHECK(tokenizer->decode(99).empty());
  Utf8Stream stream;
  CHECK(stream.feed(fmt::format("a{}", tokenizer->decode(1))) == "a");
  CHECK(stream.feed(tokenizer->decode(2)) == "\u00e9");
  CHECK(stream.finish().empty());
  tokenizer =
      write({{"decoder", nullptr}, {"model", {{"vocab", {{"\u2581of", 0}, {"<0x0A>", 1}}}}}});
  CHECK(tokenizer->decode(0) == " of");
  CHECK(tokenizer->decode(1) == "\n");
  std::ofstream(folder / "tokenizer.json") << "{}";
  CHECK_THROWS_WITH(open_tokenizer(folder.path(), 1000), Contains("no tokenizer of the library"));
  fs::remove(folder / "tokenizer.json");
  CHECK_THROWS_WITH(open_tokenizer(folder.path(), 1000), Contains("neither tokenizer.json"));
  CHECK(open_tokenizer(folder.path(), 256)->encode("hi") == std::vector<std::int64_t>{104, 105});
}

// ---- sampling ----------------------------------------------------------------------------------

TEST_CASE("Draws follow the probabilities that temperature, top-k and top-p leave") {
  const auto logits = at::log(at::tensor({0.1, 0.4, 0.2, 0.3}, at::kDouble));
  const auto frequencies = [&](const SamplingOptions& options) {
    auto generator = make_generator(1, RandomStream::sampling);
    std::vector<double> counts(4, 0.0);
    for (int i = 0; i < 4000; ++i) {
      counts[static_cast<std::size_t>(sample_token(logits, options, generator))] += 1.0 / 4000;
    }
    return counts;
  };
  // Standard error of a frequency: at most sqrt(0.25 / 4000) = 0.008; four of them.
  const auto near = [](const std::vector<double>& found, const std::vector<double>& expected) {
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 0.032);
  };
  near(frequencies({}), {0.1, 0.4, 0.2, 0.3});
  near(frequencies({.temperature = 0.5}), {1 / 30., 16 / 30., 4 / 30., 9 / 30.});
  CHECK(frequencies({.temperature = 0.0})[1] == Approx(1.0));
  const auto two = frequencies({.top_k = 2});
  near(two, {0.0, 4 / 7., 0.0, 3 / 7.});
  CHECK(two[0] + two[2] == 0.0);
  const auto nucleus = frequencies({.top_p = 0.75});  // 0.4 + 0.3 hold 0.7: the next is in, too
  near(nucleus, {0.0, 4 / 9., 2 / 9., 3 / 9.});
  CHECK(nucleus[0] == 0.0);
  CHECK(frequencies({.top_p = 1e-9})[1] == Approx(1.0));
}

TEST_CASE("Greedy sampling with the cache takes the tokens that whole passes would take") {
  const auto loaded = load_model(kGolden + "qwen3", at::kCPU);
  const std::vector<std::int64_t> prompt = {3, 1, 4};
  const auto context_length = loaded.source.spec->context_length();
  std::vector<std::int64_t> found;
  sample(*loaded.model, prompt, 2, context_length, at::kCPU, {.temperature = 0.0, .tokens = 6},
         [&](std::int64_t token) {
           found.push_back(token);
           return true;
         });
  at::NoGradGuard no_grad;
  auto sequence = prompt;
  for (std::int64_t i = 0; i < 6; ++i) {
    ForwardContext context;
    const auto logits = loaded.model->logits(at::tensor(sequence, at::kLong).unsqueeze(0), context);
    sequence.push_back(logits[0][logits.size(1) - 1].argmax(0).item<std::int64_t>());
  }
  CHECK(std::vector<std::int64_t>(sequence.begin() + 3, sequence.end()) == found);
}

TEST_CASE("generate gives the same text for the same seed, and ends at the context's end") {
  const SmallRun small;
  const auto generate = [&](const std::string& seed, const std::string& tokens) {
    return run_program({"generate", "--model", small.output, "--prompt", "01", "--tokens", tokens,
                        "--seed", seed, "--threads", "1"});
  };
  const auto first = generate("1", "8");
  CHECK(first.exit_code == 0);
  CHECK(first.output.starts_with("01"));
  CHECK(generate("1", "8").output == first.output);
  CHECK(generate("2", "8").output != first.output);
  CHECK(generate("1", "10000").exit_code == 0);
  const auto empty = run_program({"generate", "--model", small.output, "--prompt", ""});
  CHECK(empty.exit_code == 2);
  CHECK_THAT(empty.errors, Contains("the prompt is empty"));
  const auto strange = run_program({"generate", "--model", small.output, "--prompt", "a"});
  CHECK(strange.exit_code == 2);
  CHECK_THAT(strange.errors, Contains("token 97, the model's vocabulary has 64"));
}

TEST_CASE("What is no model, and no token file, is one error") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH(open_model(folder.path()), Contains("no model: neither config.json"));
  CHECK_THROWS_WITH(open_model(folder / "x"), Contains("there is no such model"));
  const auto result = run_program(
      {"eval", "--model", kGolden + "llama", "--tokens", (folder / "none.bin").string()});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.errors, Contains("none.bin"));
}
