// Roles, and layouts: what covers the flat buffer, and what is refused by name.
#include "core/parameters/parameter_layout.hpp"

#include <set>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

Parameter block(const std::string& name, std::vector<std::int64_t> shape) {
  Parameter result;
  result.name = name;
  result.shape = std::move(shape);
  return result;
}

std::string error_of(const Parameter& broken) {
  return input_error([&] { ParameterLayout({block("first", {2, 2}), broken}); });
}

}  // namespace

TEST_CASE("Every role has one name, and the name leads back to it") {
  REQUIRE(role_names().size() == static_cast<std::size_t>(kParameterRoleCount));
  CHECK(std::set<std::string>(role_names().begin(), role_names().end()).size() ==
        role_names().size());
  for (int i = 0; i < kParameterRoleCount; ++i) {
    const auto role = static_cast<ParameterRole>(i);
    CHECK(role_from_name(role_name(role)) == role);
  }
  CHECK(role_name(ParameterRole::lora_b) == "lora_b");
  CHECK_THAT(input_error([] { role_from_name("querry"); }), Contains("'querry'"));
}

TEST_CASE("A block is seen as a matrix") {
  CHECK(block("conv", {6, 3, 2, 2}).rows() == 6);
  CHECK(block("conv", {6, 3, 2, 2}).columns() == 12);
  CHECK(block("vector", {5}).columns() == 1);
  CHECK_FALSE(block("vector", {5}).is_matrix());
}

TEST_CASE("The blocks of every model cover the flat buffer once, in order") {
  for (const auto& model : small_models()) {
    INFO(model.name);
    const auto layout = model.spec()->layout();
    std::int64_t next = 0;
    std::set<std::string> names;
    for (const auto& b : layout.parameters()) {
      CHECK(b.offset == next);
      CHECK(b.size() == b.rows() * b.columns());
      CHECK(names.insert(b.name).second);
      CHECK(layout.parameters()[layout.index_of(b.name)].name == b.name);
      next += b.size();
    }
    CHECK(layout.size() == next);
  }
}

TEST_CASE("Parameter counts follow the closed forms") {
  const auto size = [](std::size_t i) { return small_models()[i].spec()->layout().size(); };
  // GPT-2: V d + T d + L (12 d^2 + 13 d) + 2 d.
  CHECK(size(0) == 11 * 8 + 6 * 8 + 2 * (12 * 64 + 13 * 8) + 16);
  CHECK(size(1) == size(0) + 11 * 8);
  // LLaMA: 2 V d + L (q + k + v + o + 3 d f + 2 d) + d.
  CHECK(size(3) == 2 * 88 + 2 * (4 * 64 + 3 * 96 + 16) + 8);
  CHECK(size(4) == 2 * 88 + 2 * (3 * 64 + 3 * 96 + 16) + 8);
  CHECK(size(5) == 2 * 88 + 2 * (2 * 24 * 8 + 2 * 6 * 8 + 3 * 96 + 16) + 8);
  CHECK(size(7) == 5 * 7 + 7 + 7 * 4 + 4 + 4 * 3 + 3);
}

TEST_CASE("A tied tensor is one block under two names") {
  const auto layout = small_models()[0].spec()->layout();
  CHECK(layout.index_of("lm_head.weight") == layout.index_of("transformer.wte.weight"));
  const auto untied = small_models()[1].spec()->layout();
  CHECK(untied.index_of("lm_head.weight") != untied.index_of("transformer.wte.weight"));
}

TEST_CASE("A fused QKV is one tensor with three sections that have heads") {
  const auto layout = small_models()[0].spec()->layout();
  const auto& qkv = layout.parameters()[layout.index_of("transformer.h.1.attn.c_attn.weight")];
  REQUIRE(qkv.sections.size() == 3);
  CHECK(qkv.shape == std::vector<std::int64_t>{24, 8});
  CHECK(qkv.sections[0].role == ParameterRole::query);
  CHECK(qkv.sections[2].role == ParameterRole::value);
  for (const auto& section : qkv.sections) {
    CHECK(section.rows == 8);
    CHECK(section.heads.count * section.heads.dim == 8);
  }
}

TEST_CASE("A layout refuses what does not fit, by the tensor's name") {
  CHECK_THAT(error_of(block("first", {3})), Contains("two parameters are named 'first'"));
  CHECK_THAT(error_of(block("bare", {})), Contains("'bare' has no shape"));
  CHECK_THAT(error_of(block("empty", {4, 0})), Contains("'empty' has an axis of length 0"));

  auto heads = block("heads", {6, 4});
  heads.heads = {4, 2, Heads::Axis::rows, 1};
  CHECK_THAT(error_of(heads), Contains("'heads': 4 heads of dimension 2"));
  heads.heads = {2, 2, Heads::Axis::columns, 1};
  CHECK(error_of(heads) == "no error");

  auto fused = block("fused", {6, 4});
  fused.sections = {{ParameterRole::query, 2, {}}, {ParameterRole::key, 2, {}}};
  CHECK_THAT(error_of(fused), Contains("'fused': its fused sections have 4 rows"));

  auto tied = block("tied", {2});
  tied.tied_names = {"first"};
  CHECK_THAT(error_of(tied), Contains("'first'"));
}

TEST_CASE("A layout refuses an unknown name") {
  CHECK_THAT(input_error([] { small_models()[0].spec()->layout().index_of("wte"); }),
             Contains("no parameter 'wte'"));
}

TEST_CASE("A model's sizes come from the data, or are asked for") {
  auto spec = model_families().make("llama");
  CHECK_THAT(input_error([&] { spec->layout(); }), Contains("vocab_size is 0"));
  spec->adapt_to({DataShape::Inputs::tokens, 19, 0, 8});
  const auto layout = spec->layout();
  CHECK(layout.parameters()[layout.index_of("lm_head.weight")].rows() == 19);
  CHECK_THAT(input_error([&] {
               spec->adapt_to({DataShape::Inputs::tokens, 20, 0, 8});
             }),
             Contains("vocabulary has 20 tokens"));
  CHECK_THAT(input_error([&] {
               spec->adapt_to({DataShape::Inputs::vectors, 19, 4, 1});
             }),
             Contains("reads tokens"));
  CHECK_THAT(input_error([] {
               model_spec("llama", {{"n_head", 3}, {"n_embd", 8}});
             }),
             Contains("not a multiple of n_head 3"));
}
