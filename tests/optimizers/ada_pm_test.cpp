// AdaPM's first moments by role, and what they take of LLaMA-7B.
#include <ATen/ATen.h>

#include "tests/support/catch.hpp"
#include "tests/support/llama_7b.hpp"
#include "tests/support/optimizer_setup.hpp"
#include "tests/support/small_models.hpp"

using namespace blockwise;
using namespace blockwise::testing;

namespace {

std::int64_t bytes_of(const Optimizer& optimizer, const std::string& wanted) {
  for (const auto& [name, bytes] : optimizer.state().bytes()) {
    if (name == wanted) return bytes;
  }
  return 0;
}

}  // namespace

TEST_CASE("ada_pm: first moments of LLaMA-7B are full, of rank 16 or none, by role") {
  const double width = 4096, hidden = 11008, layers = 32, vocabulary = 32000;
  ParameterStore store(llama_7b(), at::kMeta);
  const Optimizer elements(optimizer_config({{"rule", "ada_pm"}}), store);
  const Optimizer rows(optimizer_config({{"rule", "ada_pm"}, {"second_moment", "row"}}), store);
  const double norms = (2 * layers + 1) * width;
  const double full = layers * width * width + vocabulary * width + norms;
  const double left = 16 * layers * (2 * width + 2 * hidden + width);
  const double right = 16 * layers * (2 * width + 2 * width + hidden);
  for (const auto* each : {&elements, &rows}) {
    CHECK(double(bytes_of(*each, "exp_avg")) == 4 * full);
    CHECK(double(bytes_of(*each, "exp_avg_left")) == 4 * left);
    CHECK(double(bytes_of(*each, "exp_avg_right")) == 4 * right);
  }
  CHECK(bytes_of(elements, "exp_avg_sq") == 4 * store.layout().size());
  const double outputs = layers * (5 * width + 2 * hidden) + 2 * vocabulary;
  CHECK(double(bytes_of(rows, "exp_avg_sq")) == 4 * (outputs + norms));
  // More than nine tenths of the first moment, as the paper says, but for the head.
  CHECK(full - vocabulary * width + left + right < 0.1 * double(store.layout().size()));
}

TEST_CASE("ada_pm: a fused tensor's sections go each by its own role") {
  const auto layout = small_models()[1].spec()->layout();
  ParameterStore store(layout, at::kCPU);
  fill_parameters(store);
  Optimizer optimizer(optimizer_config({{"rule", "ada_pm"}, {"rank", 2}, {"gradient_clip", 0.0}}),
                      store);
  fill_gradients(store, 0);
  optimizer.step(1e-2);
  const auto i = layout.index_of("transformer.h.0.attn.c_attn.weight");
  const auto& fused = layout.parameters()[i];
  const auto& state = optimizer.state().of(i);
  REQUIRE(state.size() == 4);
  const auto g = store.gradient(i);
  const auto values = g.narrow(0, 2 * fused.rows() / 3, fused.rows() / 3);
  CHECK(at::allclose(state.load(1).view(values.sizes()), values * 0.1));
  CHECK(state.load(2).numel() == 2 * (fused.rows() / 3) * 2);  // of queries and of keys
  CHECK(state.load(3).numel() == 2 * 2 * fused.columns());
  // L R is the average where the rank is that of the matrix.
  Optimizer exact(optimizer_config({{"rule", "ada_pm"}, {"rank", 8}, {"gradient_clip", 0.0}}),
                  store);
  for (int draw = 0; draw < 3; ++draw) {
    fill_gradients(store, 0);
    exact.step(1e-2);
  }
  const auto queries = g.narrow(0, 0, fused.rows() / 3);
  const auto left = exact.state().of(i).load(2).narrow(0, 0, 64).view({8, 8});
  const auto right = exact.state().of(i).load(3).narrow(0, 0, 64).view({8, 8});
  CHECK(at::allclose(left.mm(right), queries * (1.0 - 0.9 * 0.9 * 0.9), 1e-4, 1e-6));
}

TEST_CASE("ada_pm: a role has one form of first moment") {
  const nlohmann::json fields = {
      {"rule", "ada_pm"}, {"low_rank", {"query", "lm_head"}}, {"without", {"lm_head"}}};
  CHECK_THAT(input_error([&] { optimizer_config(fields); }), Contains("role 'lm_head'"));
}
