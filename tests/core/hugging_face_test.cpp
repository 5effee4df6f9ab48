// Folders that transformers wrote (tests/golden/record_hugging_face.py) give its logits, loss and
// gradients; what we write is read back, and bad folders are one clear error.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include <ATen/core/grad_mode.h>

#include "core/autograd.hpp"
#include "core/error.hpp"
#include "core/io/safetensors.hpp"
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
  result.spec = read_hugging_face_config(folder);
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
  for (const std::string name : {"gpt2", "llama", "llama_bias_tied", "mistral", "qwen2", "qwen3"}) {
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
      const auto& block = opened.store->layout().blocks()[i];
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

TEST_CASE("A written folder is read back bit for bit, whole and in shards") {
  for (const std::string name : {"gpt2", "llama", "mistral", "qwen2", "qwen3"}) {
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
    }
  }
}

TEST_CASE("bfloat16 folders hold rounded weights, tokenizer files go along") {
  TemporaryFolder folder;
  copy_folder(kGolden / "llama", folder / "in");
  std::ofstream(folder / "in/tokenizer.json") << "{}";
  const auto opened = open_folder(folder / "in");
  HuggingFaceWriting writing{at::kBFloat16, 1 << 30, folder / "in"};
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
    change_config(bad("b", "llama"), "mlp_bias", true);
    CHECK_THROWS_WITH(open_folder(folder / "b"), Contains("'mlp_bias' is true, supported: false"));
  }
  SECTION("an unknown rotary scaling") {
    change_config(bad("c", "llama"), "rope_parameters", {{"rope_type", "yarn"}, {"factor", 2.0}});
    CHECK_THROWS_WITH(open_folder(folder / "c"), Contains("'rope_parameters.rope_type' is 'yarn'"));
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
