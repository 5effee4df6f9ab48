// llm.c's model files: a small GPT-2 written in their layout by hand comes back as it was.
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <fstream>

#include "core/base/error.hpp"
#include "core/pretrained/llm_c.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

constexpr std::int64_t kVocabulary = 11, kPadded = 128, kLayers = 2;

std::unique_ptr<ModelSpec> small_gpt2() {
  return model_spec("gpt2", {{"vocab_size", kVocabulary},
                             {"block_size", 6},
                             {"n_layer", kLayers},
                             {"n_head", 2},
                             {"n_embd", 8}});
}

// The 16 tensors in the file's order, each over all layers.
std::vector<at::Tensor> file_order(const ParameterStore& store) {
  const auto get = [&](const std::string& name) {
    return store.master(store.layout().index_of(name)).clone();
  };
  const auto padding = at::full({kPadded - kVocabulary, 8}, 77.0, at::kFloat);
  std::vector<at::Tensor> tensors = {at::cat({get("transformer.wte.weight"), padding}),
                                     get("transformer.wpe.weight")};
  for (const std::string part :
       {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"}) {
    for (const std::string kind : {".weight", ".bias"}) {
      for (std::int64_t layer = 0; layer < kLayers; ++layer) {
        tensors.push_back(get(fmt::format("transformer.h.{}.{}{}", layer, part, kind)));
      }
    }
  }
  tensors.push_back(get("transformer.ln_f.weight"));
  tensors.push_back(get("transformer.ln_f.bias"));
  return tensors;
}

void write_file(const std::filesystem::path& path, const ParameterStore& store,
                std::vector<std::int32_t> header, at::ScalarType type) {
  std::ofstream file(path, std::ios::binary);
  header.resize(256, 0);
  file.write(reinterpret_cast<const char*>(header.data()), 1024);
  for (const auto& tensor : file_order(store)) {
    const auto data = tensor.to(type).contiguous();
    file.write(static_cast<const char*>(data.data_ptr()),
               static_cast<std::streamsize>(data.nbytes()));
  }
}

std::vector<std::int32_t> header(std::int32_t version) {
  return {20240326, version, 6, kVocabulary, kLayers, 2, 8, kPadded};
}

}  // namespace

TEST_CASE("A model file of llm.c is read in both versions") {
  const TemporaryFolder folder;
  const auto spec = small_gpt2();
  ParameterStore store(spec->layout(), at::kCPU);
  store.initialize(4);
  {
    at::NoGradGuard no_grad;
    store.parameters().add_(0.01);  // biases that are not zero
  }
  for (const auto& [version, type] : {std::pair{3, at::kFloat}, std::pair{5, at::kBFloat16}}) {
    const auto path = folder / "model.bin";
    write_file(path, store, header(version), type);
    const auto read = read_llm_c_config(path);
    ParameterStore again(read->layout(), at::kCPU);
    read_llm_c_weights(path, again);
    CHECK(again.layout().size() == store.layout().size());
    CHECK(at::equal(again.parameters(), store.parameters().to(type).to(at::kFloat)));
  }
}

TEST_CASE("A wrong model file of llm.c is one error with field, value and bound") {
  const TemporaryFolder folder;
  const auto spec = small_gpt2();
  const ParameterStore store(spec->layout(), at::kCPU);
  const auto expect = [&](std::size_t field, std::int32_t value, const std::string& error) {
    auto fields = header(3);
    fields[field] = value;
    write_file(folder / "bad.bin", store, fields, at::kFloat);
    CHECK_THROWS_WITH(read_llm_c_config(folder / "bad.bin"), Contains(error));
  };
  expect(0, 20240520, "magic number 20240520, a model file of llm.c has 20240326");
  expect(1, 4, "version 4, known are 3 (float32) and 5 (bfloat16)");
  expect(4, 0, "the header's number of layers is 0, allowed are 1 to 1024");
  expect(5, 3, "the header's width: 8 is not a multiple of n_head 3");
  expect(4, 1 << 30, "the header's number of layers is 1073741824, allowed are 1 to 1024");
  expect(5, -1, "the header's number of heads is -1, allowed are 1 to 1024");
  expect(6, 1 << 30, "the header's width is 1073741824, allowed are 1 to 65536");
  expect(2, 0, "the header's longest sequence is 0, at least 1 is needed");
  expect(3, 1 << 30, "the header's vocabulary is 1073741824, allowed are 0 to 1048576");
  expect(7, 5, "the header's padded vocabulary is 5, its vocabulary 11");
  expect(4, 3, "the header asks for");
  std::ofstream(folder / "short.bin") << "abc";
  CHECK_THROWS_WITH(read_llm_c_config(folder / "short.bin"), Contains("3 bytes, a model file"));
}
