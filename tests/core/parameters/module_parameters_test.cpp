// LibTorch modules described by their types.
#include "core/parameters/module_parameters.hpp"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/modules/rnn.h>
#include <torch/nn/modules/transformerlayer.h>

#include <set>

#include "core/partition/partition_rules.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/set_fields.hpp"

using namespace blockwise;
using namespace blockwise::testing;
namespace nn = torch::nn;

namespace {

ParameterLayout layout_of(const nn::Module& module) {
  std::vector<Parameter> parameters;
  for (const auto& [tensor, block] : describe_modules(module)) {
    CHECK(block.size() == tensor.numel());
    parameters.push_back(block);
  }
  return ParameterLayout(parameters);
}

const Parameter& block(const ParameterLayout& layout, const std::string& name) {
  return layout.parameters()[layout.index_of(name)];
}

// Values of adam_mini's partition of one tensor.
std::int64_t values(const Parameter& block) {
  return make_partition(ParameterLayout({block}), "adam_mini").state_size();
}

struct Custom : nn::Module {
  Custom() {
    register_module("inner", inner);
    register_parameter("temperature", at::ones({1}));
  }
  nn::Linear inner{2, 2};
};

struct Tied : nn::Module {
  Tied() : embedding(register_module("embedding", nn::Embedding(7, 4))) {
    register_module("again", embedding.ptr());
  }
  nn::Embedding embedding;
};

}  // namespace

TEST_CASE("Matrices are by row, gains and biases by element") {
  nn::Sequential net(
      nn::Embedding(9, 6), nn::Linear(6, 5), nn::LayerNorm(nn::LayerNormOptions({5})),
      nn::Conv2d(nn::Conv2dOptions(4, 8, 3).groups(2)), nn::BatchNorm2d(8), nn::GroupNorm(2, 8));
  const auto layout = layout_of(*net);
  CHECK(layout.parameters().size() == net->parameters().size());
  CHECK(block(layout, "0.weight").role == ParameterRole::token_embedding);
  CHECK(values(block(layout, "0.weight")) == 9);
  CHECK(values(block(layout, "1.weight")) == 5);
  CHECK(values(block(layout, "1.bias")) == 5);
  CHECK(block(layout, "2.weight").role == ParameterRole::norm);
  CHECK(block(layout, "3.weight").columns() == 2 * 3 * 3);
  CHECK(values(block(layout, "3.weight")) == 8);  // output filters
  CHECK(block(layout, "4.bias").role == ParameterRole::bias);
  CHECK(values(block(layout, "5.weight")) == 8);
}

TEST_CASE("Attention is known by its heads, fused or not") {
  nn::MultiheadAttention fused(nn::MultiheadAttentionOptions(12, 3).add_bias_kv(true));
  const auto layout = layout_of(*fused);
  const auto& in = block(layout, "in_proj_weight");
  REQUIRE(in.sections.size() == 3);
  CHECK(in.sections[1].role == ParameterRole::key);
  CHECK(values(in) == 3 + 3 + 12);
  const auto& out = block(layout, "out_proj.weight");
  CHECK(out.role == ParameterRole::attention_output);
  CHECK(out.heads.axis == Heads::Axis::columns);
  CHECK(out.heads.count == 3);
  CHECK(block(layout, "out_proj.bias").role == ParameterRole::bias);
  CHECK(values(block(layout, "bias_k")) == 12);

  nn::MultiheadAttention apart(nn::MultiheadAttentionOptions(12, 3).kdim(5).vdim(7));
  const auto split = layout_of(*apart);
  CHECK(values(block(split, "q_proj_weight")) == 3);
  CHECK(block(split, "k_proj_weight").shape == std::vector<std::int64_t>{12, 5});
  CHECK(values(block(split, "k_proj_weight")) == 3);
  CHECK(values(block(split, "v_proj_weight")) == 12);
}

TEST_CASE("A transformer layer is covered by every rule that needs no package's names") {
  nn::TransformerEncoderLayer layer(nn::TransformerEncoderLayerOptions(8, 2).dim_feedforward(10));
  const auto layout = layout_of(*layer);
  std::int64_t elements = 0;
  for (const auto& p : layer->parameters()) elements += p.numel();
  CHECK(layout.size() == elements);
  for (const auto& rule : partition_rules()) CHECK_NOTHROW(make_partition(layout, rule.name));
  CHECK(block(layout, "self_attn.in_proj_weight").sections.size() == 3);
}

TEST_CASE("A tensor under two names is one block") {
  const Tied tied;
  const auto described = describe_modules(tied);
  REQUIRE(described.size() == 1);
  CHECK(described[0].second.tied_names.size() == 1);
}

TEST_CASE("A parameter that no type covers is an error by its name") {
  CHECK_THAT(input_error([] { describe_modules(Custom()); }), Contains("'temperature'"));
  nn::Sequential recurrent(nn::LSTM(3, 2));
  CHECK_THAT(input_error([&] { describe_modules(*recurrent); }),
             Contains("'0.weight_ih_l0'") && Contains("LSTM"));
}
