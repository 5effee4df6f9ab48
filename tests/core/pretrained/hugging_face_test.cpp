// Folders that transformers wrote (tests/golden/record_hugging_face.py) give its logits, loss and
// gradients; what we write is read back, and bad folders are one clear error.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "core/base/error.hpp"
#include "core/io/safetensors.hpp"
#include "core/models/llama.hpp"
#include "core/pretrained/hugging_face.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = BLOCKWISE_SOURCE_DIR "/tests/golden/hugging_face";

struct Opened {
  std::unique_ptr<ModelSpec> spec;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Model> model;
};

Opened open_folder(const fs::path& folder) {
  Opened result;
  result.spec = read_hugging_face_config(folder).spec;
  result.store = std::make_unique<ParameterStore>(result.spec->layout(), at::kCPU);
  read_hugging_face_weights(folder, *result.store);
  result.model = result.spec->build(*result.store);
  return result;
}

double largest(const at::Tensor& difference) { return difference.abs().max().item<double>(); }

at::Tensor logits(const Opened& opened, const at::Tensor& tokens) {
  at::NoGradGuard no_grad;
  ForwardContext context;
  return opened.model->logits(tokens, context);
}

struct Layout {
  std::string folder, expected;
};

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::copy(from, to, fs::copy_options::recursive);
}

void change_config(const fs::path& folder, const std::string& key, const nlohmann::json& value) {
  auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  config[key] = value;
  std::ofstream(folder / "config.json") << config;
}

}  // namespace

// The bounds of the task: 1e-4 on logits, 1e-5 on the loss, 1e-4 on gradients; float32 sums in
// another order differ by some 1e-6 at these sizes.
TEST_CASE("Every family gives the logits, loss and gradients of transformers") {
  for (const std::string name : {"gpt2", "llama", "llama_bias_tied", "mistral", "qwen2", "qwen3",
                                 "gpt2_gelu", "llama_mlp_bias", "llama_dynamic", "qwen3_yarn"}) {
    INFO(name);
    const auto expected = read_safetensors(kGolden / name / "expected.safetensors");
    const auto opened = open_folder(kGolden / name);
    const Batch batch{expected.tensor("tokens"), expected.tensor("targets")};
    CHECK(largest(logits(opened, batch.inputs) - expected.tensor("logits")) < 1e-4);
    ForwardContext context;
    const auto loss = opened.model->loss(batch, context);
    CHECK(std::abs(loss.item<double>() - expected.tensor("loss").item<double>()) < 1e-5);
    backward(loss);
    std::size_t compared = 0;
    for (std::size_t i = 0; i < opened.store->tensors().size(); ++i) {
      const auto& block = opened.store->layout().parameters()[i];
      INFO(block.name);
      auto gradient = expected.tensor("grad." + block.name);
      if (block.stored_transposed && gradient.dim() == 2) gradient = gradient.t();
      CHECK(largest(opened.store->gradient(i) - gradient) < 1e-4);
      CHECK(largest(gradient) > 1e-4);  // a comparison of zeros would prove nothing
      ++compared;
    }
    CHECK(compared + 4 == expected.tensors.size());
  }
}

TEST_CASE("Other layouts of the same folder give the same logits") {
  for (const auto& [folder, like] : {Layout{"gpt2_prefixed", "gpt2"},
                                     {"gpt2_bare", "gpt2"},
                                     {"llama_sharded", "llama"},
                                     {"llama_bf16", "llama_bf16"}}) {
    INFO(folder);
    const auto expected = read_safetensors(kGolden / like / "expected.safetensors");
    const auto found = logits(open_folder(kGolden / folder), expected.tensor("tokens"));
    CHECK(largest(found - expected.tensor("logits")) < 1e-4);
  }
}

TEST_CASE("config.json of transformers 4 describes the same model as that of 5") {
  for (const auto& [old_style, new_style] :
       {Layout{"llama_v4_config", "llama"}, {"llama_bias_tied_v4_config", "llama_bias_tied"}}) {
    TemporaryFolder folder;
    copy_folder(kGolden / new_style, folder / "model");
    fs::copy_file(kGolden / old_style / "config.json", folder / "model/config.json",
                  fs::copy_options::overwrite_existing);
    const auto expected = read_safetensors(kGolden / new_style / "expected.safetensors");
    const auto found = logits(open_folder(folder / "model"), expected.tensor("tokens"));
    CHECK(largest(found - expected.tensor("logits")) < 1e-4);
  }
}

// ---- options -----------------------------------------------------------------------------------

TEST_CASE("What an owner adds to config.json counts as in transformers") {
  for (const auto& [edited, original] : {Layout{"llama_rope_scaling_linear", "llama"},
                                         {"llama_rope_scaling_yarn", "llama"},
                                         {"qwen3_window", "qwen3"}}) {
    INFO(edited);
    TemporaryFolder folder;
    copy_folder(kGolden / edited, folder / "model");
    fs::copy_file(kGolden / original / "model.safetensors", folder / "model/model.safetensors");
    const auto expected = read_safetensors(kGolden / edited / "expected.safetensors");
    const auto opened = open_folder(folder / "model");
    const auto found = logits(opened, expected.tensor("tokens"));
    CHECK(largest(found - expected.tensor("logits")) < 1e-4);
    const auto before = open_folder(kGolden / original);
    CHECK(largest(found - logits(before, expected.tensor("tokens"))) > 1e-3);
    // What we write of it says the same.
    write_hugging_face(folder / "out", *opened.spec, *opened.store, {});
    CHECK(at::equal(logits(open_folder(folder / "out"), expected.tensor("tokens")), found));
  }
}

TEST_CASE("A head of its own unties what config.json calls tied, and is exported") {
  for (const std::string original : {"gpt2", "llama_bias_tied"}) {
    INFO(original);
    const auto edited = kGolden / (original + "_separate_head");
    const auto expected = read_safetensors(edited / "expected.safetensors");
    TemporaryFolder folder;
    copy_folder(edited, folder / "model");
    auto weights = read_safetensors(kGolden / original / "model.safetensors").tensors;
    const auto tied = weights;
    weights.emplace_back("lm_head.weight", expected.tensor("lm_head.weight"));
    write_safetensors(folder / "model/model.safetensors", weights);
    const auto opened = open_folder(folder / "model");
    const auto found = logits(opened, expected.tensor("tokens"));
    CHECK(largest(found - expected.tensor("logits")) < 1e-4);
    write_hugging_face(folder / "out", *opened.spec, *opened.store, {});
    CHECK(at::equal(logits(open_folder(folder / "out"), expected.tensor("tokens")), found));

    // A copy of the embedding is no head of its own.
    const auto* name = original == "gpt2" ? "transformer.wte.weight" : "model.embed_tokens.weight";
    weights = tied;
    weights.emplace_back("lm_head.weight",
                         read_safetensors(kGolden / original / "model.safetensors").tensor(name));
    write_safetensors(folder / "model/model.safetensors", weights);
    CHECK(open_folder(folder / "model").store->layout().size() ==
          open_folder(kGolden / original).store->layout().size());
  }
}

TEST_CASE("A model that ties by its own wish refuses two tensors that differ") {
  TemporaryFolder folder;
  copy_folder(kGolden / "llama", folder / "model");
  const auto spec = model_spec("llama", {{"vocab_size", 61},
                                         {"block_size", 64},
                                         {"n_layer", 2},
                                         {"n_head", 4},
                                         {"n_kv_head", 2},
                                         {"n_embd", 24},
                                         {"head_dim", 6},
                                         {"intermediate_size", 20},
                                         {"tie_word_embeddings", true}});
  ParameterStore store(spec->layout(), at::kCPU);
  CHECK_THROWS_WITH(read_hugging_face_weights(folder / "model", store),
                    Contains("'model.embed_tokens.weight' differs from 'lm_head.weight'"));
}

namespace {

// config.json alone: what it describes, read from text.
HuggingFaceConfig described(const nlohmann::json& config) {
  TemporaryFolder folder;
  std::ofstream(folder / "config.json") << config;
  return read_hugging_face_config(folder.path());
}

nlohmann::json golden_config(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(kGolden / name / "config.json"));
}

const LlamaOptions& llama_options(const HuggingFaceConfig& config) {
  return dynamic_cast<const LlamaSpec&>(*config.spec).options();
}

}  // namespace

TEST_CASE("What config.json leaves out has transformers' default") {
  auto mistral = golden_config("mistral");
  for (const auto* key : {"sliding_window", "num_key_value_heads", "max_position_embeddings"}) {
    mistral.erase(key);
  }
  mistral["num_attention_heads"] = 16;
  const auto read = described(mistral);
  CHECK(llama_options(read).sliding_window == 4096);
  CHECK(llama_options(read).n_kv_head == 8);
  CHECK(llama_options(read).sizes.block_size == 131072);
  mistral["sliding_window"] = mistral["num_key_value_heads"] = nullptr;
  CHECK(llama_options(described(mistral)).sliding_window == 0);
  CHECK(llama_options(described(mistral)).kv_heads() == 16);
  auto gpt2 = golden_config("gpt2");
  gpt2.erase("eos_token_id");
  CHECK(described(gpt2).companions.tokens.end == std::vector<std::int64_t>{50256});
  gpt2["eos_token_id"] = {3, 5};
  CHECK(described(gpt2).companions.tokens.end == std::vector<std::int64_t>{3, 5});
  gpt2["eos_token_id"] = nullptr;
  CHECK(described(gpt2).companions.tokens.end.empty());
}

TEST_CASE("yarn and dynamic lengthen the context, by factor or ratio") {
  auto config = golden_config("qwen3");
  config["max_position_embeddings"] = 32768;
  config["rope_parameters"] = nullptr;
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  CHECK(llama_options(described(config)).sizes.block_size == 131072);
  CHECK(llama_options(described(config)).rope_scaling.original_positions == 32768);
  config["rope_scaling"] = {{"rope_type", "yarn"},
                            {"factor", nullptr},
                            {"original_max_position_embeddings", 4096},
                            {"mscale", 2.0},
                            {"mscale_all_dim", 1.0}};
  const auto ratio = described(config);
  CHECK(llama_options(ratio).rope_scaling.factor == 8.0);
  CHECK(llama_options(ratio).rope_scaling.attention_factor ==
        Approx((0.2 * std::log(8.0) + 1.0) / (0.1 * std::log(8.0) + 1.0)));
  config["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 3.0}};
  CHECK(llama_options(described(config)).sizes.block_size == 98304);
}

TEST_CASE("Keys that change the function are honoured or refused, unknown ones are reported") {
  for (const std::string name :
       {"gpt2", "gpt2_bare", "gpt2_prefixed", "llama", "llama_v4_config", "llama_bias_tied",
        "mistral", "qwen2", "qwen3", "qwen3_yarn", "llama_dynamic", "llama_rope_scaling_yarn"}) {
    INFO(name);
    auto config = golden_config(name);
    CHECK(described(config).unknown_keys.empty());
    config["temperature"] = 0.7;
    config["spice"] = "hot";
    CHECK(described(config).unknown_keys == std::vector<std::string>{"spice"});
  }
  struct Refused {
    std::string from, key;
    nlohmann::json value;
    std::string error;
  };
  for (const auto& [from, key, value, error] : std::vector<Refused>{
           {"gpt2", "scale_attn_weights", false, "is false, supported: true"},
           {"gpt2", "scale_attn_by_inverse_layer_idx", true, "is true, supported: false"},
           {"gpt2", "add_cross_attention", true, "is true, supported: false"},
           {"gpt2", "activation_function", "relu", "is 'relu', supported: gelu_new, gelu"},
           {"gpt2", "hidden_size", 17, "is 17, but 'n_embd' is 16"},
           {"gpt2", "pruned_heads", {{"0", {1}}}, "names heads without weights"},
           {"llama", "hidden_act", "relu", "is 'relu', supported: silu"},
           {"llama", "sliding_window", 8, "is not supported for this model_type"},
           {"llama", "is_causal", false, "is false, supported: true"},
           {"llama", "partial_rotary_factor", 0.5, "is 0.5, supported: 1"},
           {"llama", "per_layer_config", {{"0", {{"head_dim", 8}}}}, "gives layers options"},
           {"llama", "quantization_config", {{"quant_method", "fp8"}}, "quantized (method fp8)"},
           {"llama", "rope_parameters", {{"rope_type", "longrope"}}, "is 'longrope', supported"},
           {"llama", "rope_parameters", {{"rope_type", "llama3"}, {"factor", 2.0}}, "is missing"},
           {"llama", "rope_parameters", {{"rope_type", "linear"}}, "factor' is missing"},
           {"llama", "rope_parameters", {{"mrope_section", {1, 2}}}, "is not supported"},
           {"mistral", "attention_bias", true, "is true, supported: false"},
           {"mistral", "layer_types", {"full_attention", "full_attention"}, "contradicts"},
           {"qwen2", "layer_types", {"full_attention", "sliding_attention"}, "is not the same"},
           {"qwen2", "layer_types", nlohmann::json::array({"full_attention"}), "has 1 entries"},
           {"qwen3", "tie_word_embeddings", nullptr, "is null, neither true nor false"}}) {
    INFO(from << " " << key);
    auto config = golden_config(from);
    config[key] = value;
    const auto text = input_error([&] { described(config); });
    CHECK_THAT(text, Contains("'" + key) && Contains(error));
  }
  auto config = golden_config("qwen2");
  config.erase("layer_types");
  config["use_sliding_window"] = true;
  config["sliding_window"] = 5;
  config["max_window_layers"] = 1;
  CHECK_THAT(input_error([&] { described(config); }), Contains("'max_window_layers' is 1 of 2"));
}

TEST_CASE("A rope_scaling that would lose the base beside it says so") {
  auto config = golden_config("qwen2");  // theta 1e6 in rope_parameters
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  CHECK_THAT(input_error([&] { described(config); }),
             Contains("'rope_scaling' takes the place of 'rope_parameters'") &&
                 Contains("rope_theta 1000000; the base would be 10000"));
  config["rope_scaling"]["rope_theta"] = 1e6;
  CHECK(llama_options(described(config)).rope_theta == 1e6);
  config["rope_scaling"].erase("rope_theta");
  config["rope_theta"] = 1e6;
  CHECK(llama_options(described(config)).rope_scaling.factor == 2.0);
}

// No number of a file may reach arithmetic or an allocation unchecked.
TEST_CASE("Every whole number of config.json has the bounds of the YAML") {
  const std::vector<std::string> harmless = {"bos_token_id", "eos_token_id", "pad_token_id",
                                             "max_window_layers", "pretraining_tp"};
  const std::int64_t largest_number = std::numeric_limits<std::int64_t>::max();
  std::size_t refused = 0;
  const auto check = [&](const nlohmann::json& config, const std::string& key) {
    const auto text = input_error([&] { described(config); });
    if (std::count(harmless.begin(), harmless.end(), key) > 0) {
      CHECK(text == "no error");
      return;
    }
    CHECK_THAT(text, Contains(key) && Contains("config.json"));
    ++refused;
  };
  for (const std::string name :
       {"gpt2_gelu", "llama", "llama_bias_tied", "mistral", "qwen2", "qwen3", "qwen3_yarn"}) {
    const auto original = golden_config(name);
    for (const auto& [key, value] : original.items()) {
      for (const std::int64_t number :
           {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 31, largest_number}) {
        INFO(name << " " << key << " " << number);
        auto config = original;
        if (value.is_number_integer()) {
          config[key] = number;
          check(config, key);
        }
        if (key != "rope_parameters" || !value.contains("original_max_position_embeddings")) {
          continue;
        }
        config[key]["original_max_position_embeddings"] = number;
        check(config, "original_max_position_embeddings");
      }
    }
  }
  CHECK(refused > 150);
  auto config = golden_config("llama");
  config["hidden_size"] = std::uint64_t{1} << 63;
  CHECK_THAT(input_error([&] { described(config); }),
             Contains("'hidden_size' is 9223372036854775808"));
  config["hidden_size"] = 1e3;
  CHECK_THAT(input_error([&] { described(config); }),
             Contains("'hidden_size' is 1000.0, no whole"));
}

TEST_CASE("Sizes that the weights do not have are refused before anything is allocated") {
  TemporaryFolder folder;
  copy_folder(kGolden / "llama", folder / "model");
  change_config(folder / "model", "intermediate_size", 1 << 18);
  CHECK_THAT(input_error([&] { read_hugging_face_config(folder / "model"); }),
             Contains("config.json asks for [262144, 24]"));
}

TEST_CASE("A config.json that is nested without end is one error") {
  TemporaryFolder folder;
  std::ofstream(folder / "config.json") << std::string(120'000, '[');
  CHECK_THAT(input_error([&] { read_hugging_face_config(folder.path()); }),
             Contains("nested deeper than 64 levels"));
}

// ---- writing -----------------------------------------------------------------------------------

TEST_CASE("Special tokens go along, one, several or none") {
  TemporaryFolder folder;
  const auto opened = open_folder(kGolden / "llama");
  HuggingFaceWriting writing;
  writing.companions.tokens = {{1}, {2, 7}, {}};
  write_hugging_face(folder / "out", *opened.spec, *opened.store, writing);
  const auto config = nlohmann::json::parse(std::ifstream(folder / "out/config.json"));
  CHECK(config["bos_token_id"] == 1);
  CHECK(config["eos_token_id"] == nlohmann::json{2, 7});
  CHECK(config["pad_token_id"].is_null());
  const auto again = read_hugging_face_config(folder / "out").companions;
  CHECK(again.tokens.end == std::vector<std::int64_t>{2, 7});
  CHECK(end_of_text(again) == std::vector<std::int64_t>{2, 7});
  std::ofstream(folder / "out/generation_config.json") << R"({"eos_token_id": [4, 5]})";
  CHECK(end_of_text(again) == std::vector<std::int64_t>{4, 5});
  std::ofstream(folder / "out/generation_config.json") << R"({"eos_token_id": "x"})";
  CHECK_THROWS_WITH(end_of_text(again), Contains("'eos_token_id' is \"x\", no whole number"));
}

TEST_CASE("An export that was interrupted is replaced, what is not ours is not") {
  TemporaryFolder folder;
  const auto opened = open_folder(kGolden / "llama");
  const auto out = folder / "out";
  const auto write = [&] { write_hugging_face(out, *opened.spec, *opened.store, {}); };
  // As a killed process leaves it: the mark, shards of another size, half a file.
  write();
  CHECK_FALSE(fs::exists(out / "export.partial"));
  fs::remove(out / "config.json");
  const auto mark = "An export of blockwise that is not finished.\n";
  std::ofstream(out / "export.partial") << mark;
  std::ofstream(out / "model-00001-of-00002.safetensors.partial") << "half";
  write();
  CHECK_FALSE(fs::exists(out / "model-00001-of-00002.safetensors.partial"));
  CHECK_FALSE(fs::exists(out / "export.partial"));
  CHECK(at::equal(open_folder(out).store->parameters(), opened.store->parameters()));
  CHECK_THROWS_WITH(write(), Contains("is there already and not empty"));

  std::ofstream(out / "export.partial") << mark;
  std::ofstream(out / "notes.txt") << "mine";
  CHECK_THROWS_WITH(write(), Contains("notes.txt is none of its files"));
  CHECK(fs::exists(out / "model.safetensors"));
  fs::remove(out / "notes.txt");
  std::ofstream(out / "export.partial") << "something else";
  CHECK_THROWS_WITH(write(), Contains("is there already and not empty"));
  fs::remove_all(out);
  fs::create_directory(out);
  std::ofstream(out / "export.partial.partial") << "An exp";
  write();
  CHECK(fs::exists(out / "config.json"));
}

TEST_CASE("A written folder is read back bit for bit, whole and in shards") {
  for (const std::string name : {"gpt2", "llama", "mistral", "qwen2", "qwen3", "gpt2_gelu",
                                 "llama_mlp_bias", "llama_dynamic", "qwen3_yarn"}) {
    for (const std::int64_t shard_bytes : {std::int64_t{1} << 30, std::int64_t{4000}}) {
      INFO(name << " " << shard_bytes);
      TemporaryFolder folder;
      const auto opened = open_folder(kGolden / name);
      HuggingFaceWriting writing;
      writing.shard_bytes = shard_bytes;
      write_hugging_face(folder / "out", *opened.spec, *opened.store, writing);
      CHECK(fs::exists(folder / "out/model.safetensors.index.json") == (shard_bytes == 4000));
      const auto again = open_folder(folder / "out");
      CHECK(at::equal(again.store->parameters(), opened.store->parameters()));
      const auto tokens =
          read_safetensors(kGolden / name / "expected.safetensors").tensor("tokens");
      CHECK(at::equal(logits(again, tokens), logits(opened, tokens)));
    }
  }
}

TEST_CASE("bfloat16 folders hold rounded weights, tokenizer files go along") {
  TemporaryFolder folder;
  copy_folder(kGolden / "llama", folder / "in");
  std::ofstream(folder / "in/tokenizer.json") << "{}";
  const auto opened = open_folder(folder / "in");
  HuggingFaceWriting writing{at::kBFloat16, 1 << 30, {folder / "in", {}}};
  write_hugging_face(folder / "out", *opened.spec, *opened.store, writing);
  CHECK(fs::exists(folder / "out/tokenizer.json"));
  const auto again = open_folder(folder / "out");
  const auto rounded = opened.store->parameters().to(at::kBFloat16).to(at::kFloat);
  CHECK(at::equal(again.store->parameters(), rounded));
}

TEST_CASE("A model without biases is written with zeros where transformers wants biases") {
  TemporaryFolder folder;
  const auto spec = model_spec("gpt2", {{"vocab_size", 11},
                                        {"block_size", 6},
                                        {"n_layer", 2},
                                        {"n_head", 2},
                                        {"n_embd", 8},
                                        {"bias", false}});
  ParameterStore store(spec->layout(), at::kCPU);
  store.initialize(1);
  const auto tokens = at::arange(6, at::kLong).unsqueeze(0);
  ForwardContext context;
  const auto expected = spec->build(store)->logits(tokens, context);
  write_hugging_face(folder / "out", *spec, store, {});
  const auto again = open_folder(folder / "out");
  CHECK(again.store->layout().size() > store.layout().size());
  CHECK(largest(logits(again, tokens) - expected) < 1e-6);
}

TEST_CASE("A bad folder is one error that names file, key or tensor, and bound") {
  TemporaryFolder folder;
  const auto bad = [&](const std::string& name, const std::string& from) {
    copy_folder(kGolden / from, folder / name);
    return folder / name;
  };
  SECTION("unknown architecture") {
    change_config(bad("a", "llama"), "model_type", "mamba");
    CHECK_THROWS_WITH(open_folder(folder / "a"),
                      Contains("config.json: 'model_type' is 'mamba', supported: gpt2, llama"));
  }
  SECTION("an option that we lack") {
    change_config(bad("b", "qwen3"), "mlp_bias", true);
    CHECK_THROWS_WITH(open_folder(folder / "b"), Contains("'mlp_bias' is true, supported: false"));
  }
  SECTION("an unknown rotary scaling") {
    change_config(bad("c", "llama"), "rope_parameters", {{"rope_type", "su"}, {"factor", 2.0}});
    CHECK_THROWS_WITH(open_folder(folder / "c"), Contains("'rope_parameters.rope_type' is 'su'"));
  }
  SECTION("a wrong type") {
    change_config(bad("d", "llama"), "hidden_size", "wide");
    CHECK_THROWS_WITH(open_folder(folder / "d"), Contains("'hidden_size' is \"wide\", no whole"));
  }
  SECTION("another shape than the configuration's") {
    change_config(bad("e", "gpt2"), "n_positions", 7);
    CHECK_THROWS_WITH(open_folder(folder / "e"),
                      Contains("wpe.weight' has shape") && Contains("config.json asks for [7, "));
  }
  SECTION("a tensor without a place") {
    change_config(bad("f", "llama"), "num_hidden_layers", 1);
    CHECK_THROWS_WITH(open_folder(folder / "f"),
                      Contains("model.layers.1.") && Contains("has no place in the model"));
  }
  SECTION("a missing tensor") {
    change_config(bad("g", "llama"), "num_hidden_layers", 3);
    CHECK_THROWS_WITH(open_folder(folder / "g"), Contains("there is no tensor 'model.layers.2."));
  }
  SECTION("a missing shard") {
    fs::remove(bad("h", "llama_sharded") / "model-00002-of-00002.safetensors");
    CHECK_THROWS_WITH(open_folder(folder / "h"), Contains("model-00002-of-00002.safetensors"));
  }
  SECTION("no weights") {
    fs::remove(bad("i", "llama") / "model.safetensors");
    CHECK_THROWS_WITH(open_folder(folder / "i"), Contains("neither model.safetensors nor"));
  }
  SECTION("a folder to write to that is in use") {
    const auto opened = open_folder(kGolden / "llama");
    CHECK_THROWS_WITH(write_hugging_face(bad("j", "llama"), *opened.spec, *opened.store, {}),
                      Contains("is there already and not empty"));
  }
}
