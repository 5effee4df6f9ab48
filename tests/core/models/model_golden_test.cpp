// Logits and loss of the transformer families against those of the library `transformers`
// (tests/golden/record_models.py).
#include <ATen/core/grad_mode.h>

#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/formula_values.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

at::Tensor tokens(const nlohmann::json& rows) {
  const auto flat = rows.get<std::vector<std::vector<std::int64_t>>>();
  std::vector<at::Tensor> tensors;
  for (const auto& row : flat) tensors.push_back(at::tensor(row, at::kLong));
  return at::stack(tensors);
}

// 0.4 * formula over the flat buffer, norm gains around 1, as the script does it.
void fill(const ParameterStore& store) {
  at::NoGradGuard no_grad;
  store.parameters().copy_(formula_values(1, store.layout().size()) * 0.4);
  for (std::size_t i = 0; i < store.tensors().size(); ++i) {
    if (store.layout().parameters()[i].role == ParameterRole::norm) store.tensors()[i].add_(1.0);
  }
}

}  // namespace

TEST_CASE("Models give the logits and the loss of transformers") {
  std::ifstream file(BLOCKWISE_SOURCE_DIR "/tests/golden/models.json");
  const auto cases = nlohmann::json::parse(file);
  REQUIRE(cases.size() == 5);
  for (const auto& recorded : cases) {
    INFO(recorded["name"].get<std::string>());
    const auto spec = model_spec(recorded["family"], recorded["fields"]);
    ParameterStore store(spec->layout(), at::kCPU, at::kDouble);
    REQUIRE(store.layout().parameters().size() == recorded["layout"].size());
    for (std::size_t i = 0; i < store.layout().parameters().size(); ++i) {
      const auto& expected_block = recorded["layout"][i];
      CHECK(store.layout().parameters()[i].name == expected_block[0].get<std::string>());
      CHECK(store.layout().parameters()[i].shape ==
            expected_block[1].get<std::vector<std::int64_t>>());
    }
    fill(store);
    const auto model = spec->build(store);
    ForwardContext context;
    const Batch batch{tokens(recorded["inputs"]), tokens(recorded["targets"])};
    const auto expected = at::tensor(recorded["logits"].get<std::vector<double>>(), at::kDouble);
    const auto logits = model->logits(batch.inputs, context).detach().flatten();
    // Float64 on both sides, but for transformers' float32 rotary angles: 6e-8 relative in sines,
    // a few times that in logits of size 1.
    const double tolerance = recorded["family"] == "llama" ? 1e-6 : 1e-12;
    CHECK((logits - expected).abs().max().item<double>() < tolerance);
    CHECK(std::abs(model->loss(batch, context).item<double>() - recorded["loss"].get<double>()) <
          tolerance);
  }
}
