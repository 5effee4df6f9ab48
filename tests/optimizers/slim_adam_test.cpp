// SlimAdam over every role, against Adam-mini under the partitions that say the same.
#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

struct Run {
  explicit Run(const nlohmann::json& fields, bool fused = true, int steps = 3)
      : store(small_models()[1].spec()->layout(), at::kCPU) {
    fill_parameters(store);
    optimizer.emplace(optimizer_config(fields), store);
    if (!fused) optimizer->use_tensor_operations();
    for (int draw = 0; draw < steps; ++draw) {
      fill_gradients(store, draw);
      optimizer->step(1e-2);
    }
  }
  const at::Tensor& second_moment(const std::string& parameter) const {
    return optimizer->state().of(store.layout().index_of(parameter)).load(1);
  }

  ParameterStore store;
  std::optional<Optimizer> optimizer;
};

nlohmann::json slim(const std::vector<std::string>& in, const std::vector<std::string>& out,
                    const std::vector<std::string>& both) {
  return {{"rule", "slim_adam"}, {"fan_in", in}, {"fan_out", out}, {"both", both}};
}

nlohmann::json mini(const std::string& rule) {
  return {{"rule", "adam_mini"},
          {"partition", {{"rule", rule}, {"norm", "per_element"}, {"bias", "per_element"}}}};
}

const std::vector<std::string> kMatrices = {"query",
                                            "key",
                                            "value",
                                            "attention_output",
                                            "mlp_in",
                                            "mlp_out",
                                            "token_embedding",
                                            "lm_head",
                                            "position_embedding"};

}  // namespace

TEST_CASE("slim_adam: averages over inputs, and over whole matrices, are Adam-mini's") {
  auto in = kMatrices;
  std::erase(in, "token_embedding");
  std::erase(in, "position_embedding");
  for (const bool fused : {true, false}) {
    // The outputs of a table are its columns.
    const Run rows(slim(in, {"token_embedding", "position_embedding"}, {}), fused);
    const Run mini_rows(mini("per_row"), fused);
    CHECK(at::allclose(rows.store.parameters(), mini_rows.store.parameters(), 1e-6, 1e-8));
    const Run whole(slim({}, {}, kMatrices), fused), none(slim({}, {}, {}), fused);
    const Run adamw({{"rule", "adamw"}}, fused);
    CHECK(at::allclose(none.store.parameters(), adamw.store.parameters(), 1e-6, 1e-8));
    CHECK_FALSE(at::allclose(whole.store.parameters(), adamw.store.parameters(), 1e-3, 1e-5));
    CHECK(whole.second_moment("transformer.h.0.attn.c_attn.weight").numel() == 3);
  }
}

TEST_CASE("slim_adam: the default is the paper's, each section of a fused tensor by its role") {
  const Run run({{"rule", "slim_adam"}, {"beta2", 0.0}, {"gradient_clip", 0.0}});
  const auto& layout = run.store.layout();
  const auto squares = [&](const std::string& name) {
    const auto& parameter = layout.parameters()[layout.index_of(name)];
    return run.store.gradients()
        .narrow(0, parameter.offset, parameter.size())
        .view(parameter.shape)
        .square();
  };
  const auto same = [&](const std::string& name, const at::Tensor& expected) {
    INFO(name);
    REQUIRE(run.second_moment(name).numel() == expected.numel());
    CHECK(at::allclose(run.second_moment(name), expected.reshape({-1}), 1e-6, 0.0));
  };
  const auto qkv = squares("transformer.h.1.attn.c_attn.weight").chunk(3);
  same("transformer.h.1.attn.c_attn.weight",
       at::cat({qkv[0].mean(1), qkv[1].mean(1), qkv[2].mean(0)}));
  same("transformer.h.1.mlp.c_fc.weight", squares("transformer.h.1.mlp.c_fc.weight").mean(0));
  same("transformer.h.1.mlp.c_proj.weight", squares("transformer.h.1.mlp.c_proj.weight").mean(0));
  same("transformer.wte.weight", squares("transformer.wte.weight").mean(1));
  same("lm_head.weight", squares("lm_head.weight").mean(1));
  same("transformer.ln_f.weight", squares("transformer.ln_f.weight"));
}

TEST_CASE("slim_adam: fused tensors keep their sections where state is stored in fewer bytes") {
  const nlohmann::json coded = {{"second_moments", "bf16"}, {"smallest", 1}};
  const nlohmann::json fields = {{"rule", "slim_adam"}};
  const nlohmann::json coded_fields = {{"rule", "slim_adam"}, {"state", coded}};
  const Run run(coded_fields), plain(fields);
  // bf16 has 8 bits: the share of a step that state_format_test.cpp allows it.
  const Run start(fields, true, 0);
  const auto moved = (plain.store.parameters() - start.store.parameters()).norm().item<double>();
  const auto apart = (run.store.parameters() - plain.store.parameters()).norm().item<double>();
  CHECK(apart < 0.03 * moved);
}

TEST_CASE("slim_adam: a role is averaged in one way") {
  CHECK_THAT(input_error([] { optimizer_config(slim({"query"}, {"query"}, {})); }),
             Contains("role 'query' is named twice"));
}
