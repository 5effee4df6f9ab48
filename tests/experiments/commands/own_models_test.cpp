// Models that people already have: evaluated, continued, sampled from, exported.
#include <ATen/core/grad_mode.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/error.hpp"
#include "core/base/random_stream.hpp"
#include "core/io/atomic_file.hpp"
#include "core/io/safetensors.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "experiments/config/config_yaml.hpp"
#include "experiments/config/model_source.hpp"
#include "experiments/records/run_recorder.hpp"
#include "experiments/text/sampling.hpp"
#include "experiments/text/token_evaluation.hpp"
#include "experiments/text/tokenizer.hpp"
#include "experiments/training/memory_plan.hpp"
#include "experiments/training/trainer.hpp"
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

TEST_CASE("Bytes are a tokenizer, whole characters come out of the stream") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH(open_tokenizer(folder.path(), 1000), Contains("neither tokenizer.json"));
  const auto bytes = open_tokenizer(folder.path(), 256);
  CHECK(bytes->encode("hi") == std::vector<std::int64_t>{104, 105});
  CHECK(bytes->decode(0xC3).empty());
  CHECK(bytes->decode(0xA9) == "\u00e9");
  CHECK(bytes->decode(0xE2).empty());
  CHECK(bytes->finish() == "\xE2");
  std::ofstream(folder / "manifest.json") << R"({"tokenizer": 5})";
  CHECK_THROWS_WITH(open_tokenizer(folder.path(), 1000), Contains("neither tokenizer.json"));
}

namespace {

// WordLevel with padding and truncation as somebody may have saved them; words are <s>, the, cat,
// sat and 57 that number themselves.
void write_word_tokenizer(const fs::path& folder) {
  nlohmann::json vocab = {{"<s>", 0}, {"the", 1}, {"cat", 2}, {"sat", 3}};
  for (int i = 4; i < 61; ++i) vocab[fmt::format("w{}", i)] = i;
  const nlohmann::json json = {
      {"version", "1.0"},
      {"truncation",
       {{"direction", "Right"}, {"max_length", 1}, {"strategy", "LongestFirst"}, {"stride", 0}}},
      {"padding",
       {{"strategy", {{"Fixed", 9}}},
        {"direction", "Right"},
        {"pad_to_multiple_of", nullptr},
        {"pad_id", 0},
        {"pad_type_id", 0},
        {"pad_token", "<s>"}}},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Whitespace"}}},
      {"post_processor", nullptr},
      {"decoder", nullptr},
      {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "<s>"}}}};
  std::ofstream(folder / "tokenizer.json") << json;
}

// A copy of a folder of transformers with that tokenizer and generation_config.json.
struct ModelFolder {
  TemporaryFolder folder;
  std::string path;

  explicit ModelFolder(const std::string& name) : path((folder / "model").string()) {
    fs::create_directory(path);
    for (const auto* file : {"config.json", "model.safetensors"}) {
      fs::copy_file(kGolden + name + "/" + file, path + "/" + file);
    }
    write_word_tokenizer(path);
    std::ofstream(path + "/generation_config.json") << R"({"eos_token_id": 60})";
    std::ofstream(path + "/special_tokens_map.json") << "{}";
  }
  std::string in(const std::string& name) const { return (folder / name).string(); }
};

std::string generated(const std::string& model, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"generate", "--model",   model, "--prompt",
                                    "the cat",  "--tokens",  "8",   "--temperature",
                                    "0",        "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  const auto result = run_program(words);
  INFO(result.errors);
  REQUIRE(result.exit_code == 0);
  return result.output;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

nlohmann::json json_of(const std::string& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

}  // namespace

TEST_CASE("A tokenizer.json is decoded as it says, and what pads or cuts is ignored") {
  TemporaryFolder folder;
  write_word_tokenizer(folder.path());
  const auto tokenizer = open_tokenizer(folder.path(), 61);
  CHECK(tokenizer->encode("the cat sat") == std::vector<std::int64_t>{1, 2, 3});
  CHECK(tokenizer->decode(1) == " the");
  CHECK(tokenizer->decode(900).empty());
  CHECK(tokenizer->decode(7) == " w7");
  CHECK(tokenizer->finish().empty());
  CHECK(tokenizer->encode("") == std::vector<std::int64_t>{});
  for (const auto& text : std::vector<std::string>{"{}", std::string(20'000, '[')}) {
    std::ofstream(folder / "tokenizer.json") << text;
    CHECK_THROWS_WITH(open_tokenizer(folder.path(), 61)->encode("the"),
                      Contains("text_session refused its input"));
  }
}

TEST_CASE("generate ends at the model's last token, at those of --eos, or not at all") {
  const ModelFolder model("llama");
  const auto endless = words_of(generated(model.path, {"--ignore-eos"}));
  REQUIRE(endless.size() == 10);
  // The third written token, where it first comes, ends the text that names it.
  const auto last = endless[4];
  const auto position = std::find(endless.begin() + 2, endless.end(), last) - endless.begin();
  const auto number =
      static_cast<std::size_t>(std::find(endless.begin(), endless.end(), last) - endless.begin());
  REQUIRE(number == static_cast<std::size_t>(position));
  const auto vocabulary = json_of(model.path + "/tokenizer.json")["model"]["vocab"];
  const auto id = fmt::format("{}", vocabulary[last].get<int>());
  const std::vector<std::string> shorter(endless.begin(), endless.begin() + position);
  CHECK(words_of(generated(model.path, {"--eos", "59," + id})) == shorter);
  std::ofstream(model.path + "/generation_config.json")
      << fmt::format("{{\"eos_token_id\": [59, {}]}}", id);
  CHECK(words_of(generated(model.path)) == shorter);
  fs::remove(model.path + "/generation_config.json");
  auto config = json_of(model.path + "/config.json");
  config["eos_token_id"] = std::stoi(id);
  std::ofstream(model.path + "/config.json") << config;
  CHECK(words_of(generated(model.path)) == shorter);
  CHECK(words_of(generated(model.path, {"--ignore-eos"})) == endless);
}

TEST_CASE("What a model brought goes through training and export, without its folder") {
  const ModelFolder model("llama");
  const auto yaml = fmt::format(
      "name: tuned\nmodel: {{from: {0}/model}}\n"
      "data: {{kind: markov_tokens, vocab_size: 61, sequence_length: 16, tokens: 640, "
      "validation_tokens: 64}}\n"
      "optimizer: {{rule: adamw, learning_rate: 0.0}}\n"
      "trainer: {{steps: 1, micro_batch_size: 2, threads: 1}}\n",
      model.folder.path().string());
  write_file_atomically(model.folder / "tuned.yaml", yaml);
  const auto trained = run_program({"train", model.in("tuned.yaml"), "--output", model.in("run")});
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  const auto before = generated(model.path);
  fs::rename(model.path, model.in("moved"));
  CHECK(generated(model.in("run")) == before);
  REQUIRE(
      run_program({"export", "--model", model.in("run"), "--output", model.in("out")}).exit_code ==
      0);
  for (const auto* name : {"tokenizer.json", "generation_config.json", "special_tokens_map.json"}) {
    CHECK(fs::exists(model.in("out/") + name));
  }
  const auto config = json_of(model.in("out/config.json"));
  CHECK(config["bos_token_id"] == 1);
  CHECK(config["eos_token_id"] == 2);
  CHECK(generated(model.in("out")) == before);
}

TEST_CASE("Data with other tokens has the tokenizer that counts") {
  const ModelFolder model("llama");
  const TemporaryFolder data, same, run, other_run;
  write_word_tokenizer(same.path());
  auto tokenizer = json_of((same / "tokenizer.json").string());
  tokenizer["model"]["vocab"].erase("w60");
  tokenizer["model"]["vocab"]["word"] = 60;
  std::ofstream(data / "tokenizer.json") << tokenizer;
  const auto source = open_model(model.path);
  keep_companions(source, data.path(), run.path());
  CHECK_FALSE(fs::exists(run / "pretrained"));
  keep_companions(source, same.path(), other_run.path());
  CHECK(fs::exists(other_run / "pretrained/tokenizer.json"));
}

// A file above the shell's limit kills the export, or ends it; either way it can be asked again.
TEST_CASE("An export that the system cut short is repeated by the same command") {
  const ModelFolder model("llama");
  const std::vector<std::string> words = {"export", "--model", model.path, "--output",
                                          model.in("out")};
  CHECK(run_program(words, "ulimit -f 8;").exit_code != 0);
  CHECK(fs::exists(model.in("out/export.partial")));
  const auto again = run_program(words);
  INFO(again.errors);
  REQUIRE(again.exit_code == 0);
  CHECK_FALSE(fs::exists(model.in("out/export.partial")));
  const auto before = load_model(model.path, at::kCPU),
             after = load_model(model.in("out"), at::kCPU);
  CHECK(at::equal(before.store->parameters(), after.store->parameters()));
  CHECK(run_program(words).exit_code == 2);
}

TEST_CASE("The fresh model of a YAML file is exported as training would start it") {
  const SmallRun small;
  const auto exported =
      run_program({"export", "--model", small.config, "--output", small.path("fresh")});
  INFO(exported.errors);
  REQUIRE(exported.exit_code == 0);
  CHECK_THAT(exported.output, Contains("the fresh model of") && Contains("from seed"));
  const auto result =
      run_program({"eval", "--model", small.path("fresh"), "--tokens", small.path("validation.bin"),
                   "--sequence-length", "16", "--json"});
  const auto fresh =
      run_program({"eval", "--model", small.config, "--tokens", small.path("validation.bin"),
                   "--sequence-length", "16", "--json"});
  CHECK(last_word(result)["loss"] == last_word(fresh)["loss"]);
  const auto trained = read_safetensors(small.output +
                                        "/checkpoints/step_00000012/"
                                        "parameters.safetensors");
  const auto start = read_safetensors(small.path("fresh/model.safetensors"));
  CHECK(start.tensors.size() == trained.tensors.size());
  CHECK_FALSE(at::equal(start.tensor("model.embed_tokens.weight"),
                        trained.tensor("model.embed_tokens.weight")));
}

// Exact but for the sampler's few bytes, as in memory_plan_test.cpp.
TEST_CASE("A sliding window shorter than the sequence is planned, and measured as planned") {
  const TemporaryFolder folder;
  write_small_corpus(folder.path());
  const auto yaml = fmt::format(
      "name: windowed\noutput: {0}/run\n"
      "data: {{kind: tokens, train: {0}/train.bin, validation: {0}/validation.bin, "
      "sequence_length: 96, validation_tokens: 512}}\n"
      "model: {{family: llama, n_layer: 2, n_head: 4, n_kv_head: 2, n_embd: 64, "
      "sliding_window: 8}}\n"
      "optimizer: {{rule: adamw, learning_rate: 1.0e-3}}\n"
      "trainer: {{steps: 2, micro_batch_size: 4, threads: 1}}\n",
      folder.path().string());
  const auto config = YamlDocument::parse(yaml, "windowed.yaml").run_config();
  const auto planned = double(plan_memory(config).peak_bytes);
  train(resolve(config), {[](const StepRecord&) {}});
  const auto peak = double(read_run((folder / "run/run.h5").string()).peak_allocated);
  INFO("planned " << planned << ", measured " << peak);
  CHECK(std::abs(planned / peak - 1.0) < 0.01);
}

TEST_CASE("Keys that nobody knows are said once, and the loss is theirs all the same") {
  const ModelFolder model("llama");
  auto config = json_of(model.path + "/config.json");
  config["spice"] = "hot";
  std::ofstream(model.path + "/config.json") << config;
  const auto result = run_program({"export", "--model", model.path, "--output", model.in("out")});
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.errors, Contains("note: ") && Contains("spice"));
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
  sample({*loaded.model, 2, context_length, at::kCPU}, prompt, {.temperature = 0.0, .tokens = 6},
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
  CHECK_THAT(empty.errors, Contains("--prompt is empty"));
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
